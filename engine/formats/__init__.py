"""Files of other tools: read into one form, and written so that those tools read them again."""
