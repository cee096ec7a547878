"""What one response is worth: metrics that need no judge."""
