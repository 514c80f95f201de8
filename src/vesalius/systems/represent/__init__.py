"""Published systems that put images and words into one space."""
