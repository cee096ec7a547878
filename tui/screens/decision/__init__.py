"""Decision: ship or not, and why."""
