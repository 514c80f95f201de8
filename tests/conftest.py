"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("VESALIUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real, openly licensed images used for developing; not part of the project."""
    if not (SHARED / "index.csv").is_file():
        pytest.skip("needs the development images in ../shared/data (or $VESALIUS_SHARED_DATA)")
    return SHARED
