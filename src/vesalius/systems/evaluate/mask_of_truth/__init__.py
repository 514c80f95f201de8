"""63 Mask of truth: its recipe, and the parts that it alone uses."""
