"""Other tools' files: read into one form, and written in their own formats."""
