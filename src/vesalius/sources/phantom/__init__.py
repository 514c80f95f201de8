"""A simulator of medical images whose whole truth is known, driven by a seed and a small configuration.

`Phantom(config).case(i)` is a pure function; `cases(n)` streams a `CaseSet`. See `docs/explanation/phantom.md`.
"""

from __future__ import annotations

from vesalius.sources.phantom.config import PhantomConfig, Reader, Shortcut, Subgroup
from vesalius.sources.phantom.engine import Phantom
from vesalius.sources.phantom.studies import STUDY_NAMES

__all__ = ["STUDY_NAMES", "Phantom", "PhantomConfig", "Reader", "Shortcut", "Subgroup"]
