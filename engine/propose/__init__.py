"""Proposes a plan from the contents of a folder."""
