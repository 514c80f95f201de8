"""Published systems: each a short recipe over shared parts, with a claim check that can fail. Lists without torch."""

from __future__ import annotations

from vesalius.systems.frame.catalogue import Entry, catalogue, find, open_system

__all__ = ["Entry", "catalogue", "find", "open_system"]
