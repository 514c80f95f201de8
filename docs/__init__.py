"""Documentation, and the code that writes its generated part."""
