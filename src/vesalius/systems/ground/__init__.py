"""Published systems that find where a phrase points."""
