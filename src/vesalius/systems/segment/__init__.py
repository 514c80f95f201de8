"""Published systems that outline what they are pointed at."""
