"""nano, the model that ships: its tower, its words and its heads."""
