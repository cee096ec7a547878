"""What judges say in a run: pairs, ratings, panels, win rates, and how far each judge can be believed."""
