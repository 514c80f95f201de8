"""38 MedViTV2: its recipe, and the parts that it alone uses."""
