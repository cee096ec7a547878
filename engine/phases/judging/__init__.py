"""Judging in a run: pairs, ratings, panels, win rates, and audits of each judge."""
