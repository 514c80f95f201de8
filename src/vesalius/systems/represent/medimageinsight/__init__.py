"""01 MedImageInsight: its recipe, and the parts that it alone uses."""
