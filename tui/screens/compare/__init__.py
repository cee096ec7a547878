"""Compare: a candidate against a baseline."""
