"""Sample models, eval sets and plans, all made from text that this package writes itself."""
