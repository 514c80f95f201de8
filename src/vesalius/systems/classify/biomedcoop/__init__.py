"""66 BiomedCoOp: its recipe, and the parts that it alone uses."""
