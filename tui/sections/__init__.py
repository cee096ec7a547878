"""What is said of a run, gathered once for every face."""
