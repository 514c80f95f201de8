"""07 MedRPG with TaCo: its recipe, and the parts that it alone uses."""
