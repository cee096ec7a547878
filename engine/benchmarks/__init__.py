"""Benchmarks that other tools define."""
