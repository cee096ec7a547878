"""The plan file: its keys, and how it is read."""
