"""Torch layers and towers, each with its source; nothing is imported before it is used."""
