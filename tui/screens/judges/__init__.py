"""Judges: what each says, and how far to believe it."""
