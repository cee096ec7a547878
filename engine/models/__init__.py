"""Sources of answers: local weights, servers, and answers recorded elsewhere."""
