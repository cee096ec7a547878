"""What everything is: a frozen dataclass for each stored thing. Standard library only."""
