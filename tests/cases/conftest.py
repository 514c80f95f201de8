"""Property tests of this room: no wall-clock deadline, since a loaded machine is not a fault."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("cases", deadline=None, max_examples=60)
settings.load_profile("cases")
