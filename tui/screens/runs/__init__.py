"""Runs: the history."""
