"""One script for each figure that the project claims; each prints both sides of its ratio."""
