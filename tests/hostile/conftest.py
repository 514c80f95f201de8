"""One pool for all hostile inputs: it must survive every one of them."""

from __future__ import annotations

import pytest

from tests.hostile.examine import LIMITS, examine
from vesalius.errors import VesaliusError
from vesalius.io import DecodePool


@pytest.fixture(scope="session")
def pool():
    with DecodePool(1, LIMITS) as made:
        yield made


@pytest.fixture
def outcome(pool):
    """Run a file or folder through the reader in a bounded child; whatever ends the child is an outcome too."""

    def run(path):
        ((_, result),) = pool.map(examine, [str(path)])
        if isinstance(result, VesaliusError):
            return {"refused": [f"{type(result).__name__}: {result}"], "read": [], "text": []}
        return result

    return run
