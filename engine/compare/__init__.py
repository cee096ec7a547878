"""Candidates against baselines, and runs against runs."""
