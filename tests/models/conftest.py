"""Property tests of this room are judged by their result, never by their speed."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("models", deadline=None, max_examples=30)
settings.load_profile("models")
