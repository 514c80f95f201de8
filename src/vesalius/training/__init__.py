"""Training: recipes, loops, augmentation. Nothing is imported before it is used."""
