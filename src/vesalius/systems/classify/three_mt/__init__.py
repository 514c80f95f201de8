"""62 3MT: its recipe, and the parts that it alone uses."""
