"""49 IMIS-Net: its recipe, and the parts that it alone uses."""
