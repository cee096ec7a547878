"""Everything that answers examples: local weights, servers, and answers recorded elsewhere."""
