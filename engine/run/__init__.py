"""Executing runs: put on their way, worked off by a worker, repeated."""
