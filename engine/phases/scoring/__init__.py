"""What is scored of models beside the metrics of their answers."""
