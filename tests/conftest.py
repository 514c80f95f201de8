"""Fixtures shared by all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Tests whose answers come out of sums of floats, run again under other kernels (`make kernels`).
NUMERIC = (
    "test_tolerance.py", "nn/", "losses/", "metrics/", "corruptions/", "training/", "library/test_search.py",
    "library/test_where.py", "library/test_ivf.py", "models/test_heads.py", "models/test_preprocess_embed.py",
    "models/test_store.py", "models/test_checkpoints.py", "models/test_propagate.py", "render/test_display.py",
    "audit/test_shortcuts.py", "audit/test_subgroups.py", "cases/test_case_geometry.py", "systems/test_frame.py",
)  # fmt: skip
SHARED = Path(os.environ.get("VESALIUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real, openly licensed images used for developing; not part of the project."""
    if not (SHARED / "index.csv").is_file():
        pytest.skip("needs the development images in ../shared/data (or $VESALIUS_SHARED_DATA)")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the numeric tests by where they stand."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(NUMERIC):
            item.add_marker("numeric")
