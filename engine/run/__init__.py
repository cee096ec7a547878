"""Executes runs: launch, worker, rerun."""
