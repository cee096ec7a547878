"""Stores merged, exported, examined, repaired and purged."""
