"""Boxes, points and counts: where things are."""
