"""Fixtures of the library's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.library.fakes import FakeEmbedder, make_cases
from vesalius.job import Job
from vesalius.library import Library


@pytest.fixture
def model() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def lib(tmp_path: Path, model: FakeEmbedder):
    with Library.open(tmp_path / "lib", model) as made:
        made.add(make_cases(40), Job(batch_size=7))
        yield made
