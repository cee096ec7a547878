"""What a run comes to: ship or not, and why."""
