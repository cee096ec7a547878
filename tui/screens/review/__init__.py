"""Review: answers side by side, and a person's own judgment."""
