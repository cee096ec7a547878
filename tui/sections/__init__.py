"""The content of a run's report as typed data, gathered once for every renderer."""
