"""Generated text, reports and answers."""
