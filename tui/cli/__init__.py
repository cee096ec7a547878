"""The commands of `assay`, a file for each family."""
