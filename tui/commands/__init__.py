"""The commands of `assay`, a file for each subject."""
