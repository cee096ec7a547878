"""Who grades: judges compare a candidate's response with a baseline's, and their answers are read."""
