"""From what a folder holds to a plan."""
