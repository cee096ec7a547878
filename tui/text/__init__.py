"""What is drawn of texts that models, data and files bring."""
