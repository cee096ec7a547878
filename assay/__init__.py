"""The name that Assay goes by: the command `assay`, which is `python -m assay` too."""
