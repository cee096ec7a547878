"""What Assay remembers: one SQLite file that the worker appends to and the screens read."""
