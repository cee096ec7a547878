"""What `assay init` writes: a commented plan and a small eval set."""
