"""Intervals, paired comparisons and win rates: NumPy alone, seeded, in bounded memory."""
