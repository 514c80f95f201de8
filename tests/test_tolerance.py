"""The yardstick itself, and that every comparison of floats in these tests has a part that follows their size."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tolerance import FLOAT32, close

#: A constant below this is a rounding error, which grows with what is compared; above it is a printed digit or a pixel.
ROUNDING = 2e-6


def test_close_follows_the_largest_value():
    big = np.array([1e4, 1.0, np.inf])
    close(big + np.array([0.5, 0.5, 0]), big)  # rounding of the large term of a sum
    with pytest.raises(AssertionError):
        close(big + np.array([0, 1.5, 0]), big)
    with pytest.raises(AssertionError):
        close(torch.tensor([1.0, 1 + 2e-4]), [1.0, 1.0])
    with pytest.raises(AssertionError):
        close([1e-9], [0.0])  # nothing is close to nothing, unless the scale is told
    close([1e-9], [0.0], scale=1)
    with pytest.raises(AssertionError):
        close(np.ones((2, 1)), np.ones((1, 2)))
    close(np.ones((2, 1)), 1)


def _constant(node: ast.AST | None) -> float | None:
    try:
        return None if node is None else float(ast.literal_eval(node))
    except (ValueError, TypeError):
        return None


def absolute_only(source: str) -> list[int]:
    """Lines that hold floats to a tiny constant, whatever their size."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rsplit(".", 1)[-1]
        given = {k.arg: k.value for k in node.keywords}
        if name == "approx" and "rel" not in given:
            tiny = _constant(given.get("abs"))
        elif name in ("assert_close", "assert_allclose", "allclose") and _constant(given.get("rtol")) == 0:
            tiny = _constant(given.get("atol"))
        else:
            continue
        if tiny is not None and 1e-12 < tiny < ROUNDING:
            found.append(node.lineno)
    return found


def test_the_guard_sees_what_it_is_for():
    assert absolute_only("assert x == pytest.approx(17.3, abs=1e-6)") == [1]
    assert absolute_only("torch.testing.assert_close(a, b, rtol=0, atol=1e-7)") == [1]
    assert not absolute_only("assert x == pytest.approx(17.3, rel=1e-6, abs=1e-6)")
    assert not absolute_only("assert x == pytest.approx(0.8932, abs=5e-5)")


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.rglob("*.py")), ids=lambda p: p.stem)
def test_no_float_is_held_to_a_constant(path):
    lines = absolute_only(path.read_text("utf-8"))
    assert not lines, f"{path.name}, lines {lines}: give a relative tolerance (tests/tolerance.py says which)"


def test_one_pass_in_float32_stays_within_its_constant():
    g = torch.Generator().manual_seed(0)
    x, w = torch.randn(64, 4096, generator=g), torch.randn(4096, 8, generator=g)
    close(x @ w, x.double() @ w.double(), FLOAT32)
