"""Audits: corruptions, subgroups, shortcuts, probing pairs, prompts, leakage, and the page that joins them."""

import sys

from vesalius.late_binding import VerbRoom

sys.modules[__name__].__class__ = VerbRoom
