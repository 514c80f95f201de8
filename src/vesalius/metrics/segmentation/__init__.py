"""Masks against masks, and instances against instances."""
