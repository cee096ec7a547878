"""Metrics: scores of responses without a judge."""
