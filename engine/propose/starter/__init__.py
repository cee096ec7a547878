"""The files of `assay init`: a commented plan and a small eval set."""
