"""Published systems that tell classes apart."""
