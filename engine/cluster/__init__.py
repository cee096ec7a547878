"""Models spread over the processors of a Ray cluster; a local run imports nothing here."""
