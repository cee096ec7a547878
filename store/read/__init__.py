"""What screens, commands and reports read: the standard library only."""
