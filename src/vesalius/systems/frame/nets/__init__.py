"""Nets that several systems build on."""
