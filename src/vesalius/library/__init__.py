"""The searchable collection: SQLite catalogue, vectors, full text; add, search, delete, compact, check."""

from __future__ import annotations

from vesalius.library.library import Library
from vesalius.library.results import (
    AddReport,
    CheckReport,
    DuplicateGroup,
    Hit,
    Hits,
    Plan,
    Problem,
    Vectors,
)

__all__ = [
    "AddReport",
    "CheckReport",
    "DuplicateGroup",
    "Hit",
    "Hits",
    "Library",
    "Plan",
    "Problem",
    "Vectors",
]
