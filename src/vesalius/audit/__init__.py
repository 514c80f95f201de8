"""Audits: corruptions, subgroups, shortcuts, probing pairs, prompts, leakage, and the page that joins them."""
