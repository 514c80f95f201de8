"""Simulated clicks: in the right place, of the right kind, x from columns and y from rows."""

import numpy as np
import pytest

from vesalius.nn.promptable import BOTTOM_RIGHT, INSIDE, OUTSIDE, TOP_LEFT
from vesalius.training.clicks import box_corners, error_clicks, first_click, inside_clicks


@pytest.fixture
def target():
    mask = np.zeros((20, 40), bool)  # wide: swapped coordinates fall outside
    mask[2:6, 25:37] = True
    return mask


def _cell(click, shape):
    return int(click[1] * shape[0]), int(click[0] * shape[1])


def test_first_click_is_inside_and_near_the_middle(target):
    for seed in range(50):
        click = first_click(target, np.random.default_rng(seed))
        row, column = _cell(click, target.shape)
        assert target[row, column]
        assert click[2] == INSIDE
        assert abs(column - 30.5) <= 4  # the half of a 12-wide bar nearest its centre


def test_error_clicks_fall_on_errors_and_name_their_kind(target):
    shown = np.roll(target, 6, axis=1)
    clicks = error_clicks(shown, target, 200, np.random.default_rng(0))
    assert {c[2] for c in clicks} == {INSIDE, OUTSIDE}
    for click in clicks:
        row, column = _cell(click, target.shape)
        assert shown[row, column] != target[row, column]
        assert (click[2] == INSIDE) == target[row, column]
    assert error_clicks(target, target, 3, np.random.default_rng(0)) == []


def test_inside_clicks_never_look_at_the_mask(target):
    clicks = inside_clicks(target, 100, np.random.default_rng(0))
    assert all(target[_cell(c, target.shape)] for c in clicks)
    assert inside_clicks(np.zeros((4, 4), bool), 3, np.random.default_rng(0)) == []


def test_box_is_exact_without_jitter_and_close_with_it(target):
    (x0, y0, a), (x1, y1, b) = box_corners(target)
    assert (a, b) == (TOP_LEFT, BOTTOM_RIGHT)
    assert (x0 * 40, y0 * 20, x1 * 40, y1 * 20) == (25, 2, 37, 6)
    for seed in range(30):
        (u0, v0, _), (u1, v1, _) = box_corners(target, np.random.default_rng(seed))
        assert u0 <= u1
        assert v0 <= v1
        assert max(abs(u0 - x0), abs(v0 - y0), abs(u1 - x1), abs(v1 - y1)) <= 0.02 + 1e-9
