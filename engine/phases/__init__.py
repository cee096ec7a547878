"""The steps of one run, a file each: a step reads what those before it recorded and does the rest."""
