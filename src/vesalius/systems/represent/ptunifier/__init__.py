"""46 PTUnifier: its recipe, and the parts that it alone uses."""
