"""14 MedMNIST-C: its recipe, and the parts that it alone uses."""
