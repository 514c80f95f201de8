"""Every system that works keeps the contract of the room."""

from __future__ import annotations

import pytest

from vesalius.systems import open_system
from vesalius.systems.frame.catalogue import MODULES
from vesalius.systems.frame.conformance import check_system


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODULES))
def test_system_conforms(name):
    check_system(open_system(name))
