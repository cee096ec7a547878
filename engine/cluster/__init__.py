"""Models spread over the processors of a Ray cluster; nothing here is imported by a run that is local."""
