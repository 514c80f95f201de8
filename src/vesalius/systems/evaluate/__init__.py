"""Published systems that measure others."""
