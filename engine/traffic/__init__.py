"""Production traffic: logs in, what they tell over time, and back into the eval set."""
