"""The steps of one run, one file each: a step reads the records of the steps before it and does the rest."""
