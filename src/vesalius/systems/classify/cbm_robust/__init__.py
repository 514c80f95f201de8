"""42 Robust concept bottleneck: its recipe, and the parts that it alone uses."""
