"""Judges: they compare a candidate's response with a baseline's, or grade single responses."""
