"""Slices: where a candidate got worse."""
