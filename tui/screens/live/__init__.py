"""Live: where a run is."""
