"""Splits: whether the eval set can be believed."""
