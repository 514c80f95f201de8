"""Fills, outlines, names and clicks: where they are drawn, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases.geometry import Box
from vesalius.errors import UsageError
from vesalius.render.overlay import COLOURS, draw_overlay


def grey(side: int, value: int = 100) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def disc(side: int, x: float, y: float, r: float) -> np.ndarray:
    yy, xx = np.mgrid[:side, :side]
    return (xx - x) ** 2 + (yy - y) ** 2 < r * r


@pytest.mark.parametrize("side", [16, 128, 3000])
def test_the_inside_lets_the_picture_through_and_the_rest_stays(side):
    picture = grey(side)
    picture[:, ::2] = 140
    mask = disc(side, side / 2, side / 2, side / 4)
    out = draw_overlay(picture, [("", mask)])
    far = disc(side, side / 2, side / 2, side / 4 + 2 + side / 100)
    np.testing.assert_array_equal(out[~far], picture[~far])
    middle = out[side // 2, side // 2 - 1 : side // 2 + 1].astype(int)
    assert (middle != picture[side // 2, side // 2 - 1 : side // 2 + 1]).any()
    assert np.abs(middle[0] - middle[1]).max() > 15  # the stripes are still there
    assert (picture[:, ::2] == 140).all()  # a copy was drawn on


def test_the_outline_is_inside_the_mask_in_the_colour():
    mask = np.zeros((128, 128), bool)
    mask[40:80, 30:90] = True
    out = draw_overlay(grey(128), [("", mask)])
    assert tuple(out[40, 60]) == COLOURS[0]
    assert tuple(out[79, 89]) == COLOURS[0]
    assert tuple(out[60, 60]) != COLOURS[0]
    assert (out[39, 60] < 100).all()  # the dark rim


def test_one_name_has_one_colour_and_others_differ():
    a, b = disc(128, 30, 90, 15), disc(128, 95, 90, 15)
    out = draw_overlay(grey(128), [("liver", a), ("spleen", b)], [("liver", Box(10, 30, 40, 50))])
    assert tuple(out[49, 12]) == COLOURS[0]
    seen = {tuple(c) for c in out.reshape(-1, 3)}
    assert COLOURS[1] in seen
    assert COLOURS[2] not in seen


@pytest.mark.parametrize("side", [24, 128, 1000])
@pytest.mark.parametrize("place", [(0.05, 0.05), (0.95, 0.05), (0.05, 0.95), (0.95, 0.95), (0.5, 0.5)])
def test_names_stay_within_the_picture(side, place):
    """The plate of a name is as large wherever the region is: it is never cut off by the border."""
    x, y = place[0] * side, place[1] * side
    tiny = Box(max(x - 1, 0), max(y - 1, 0), min(x + 1, side), min(y + 1, side))
    with_name = draw_overlay(grey(side), [], [("mass", tiny)])
    centre = Box(side / 2 - 1, side / 2 - 1, side / 2 + 1, side / 2 + 1)
    reference = draw_overlay(grey(side), [], [("mass", centre)])
    plate, whole = ((np.all(p == COLOURS[0], axis=-1)).sum() for p in (with_name, reference))
    assert plate == pytest.approx(whole, rel=0.1)


def test_a_long_name_is_cut_and_names_at_one_place_do_not_cover_each_other():
    box = Box(40, 60, 90, 90)
    out = draw_overlay(grey(128), [], [("x" * 500, box), ("first one", box), ("second one", box)])
    alone = [draw_overlay(grey(128), [], [(name, box)]) for name in ("x" * 500, "first one", "second one")]
    frame = 2 * (50 + 30)
    for colour, one in zip(COLOURS, alone, strict=False):
        plate = np.all(one == COLOURS[0], axis=-1).sum() - frame
        assert np.all(out == colour, axis=-1).sum() > 0.9 * plate


def test_clicks_differ_without_colour():
    out = draw_overlay(grey(128), [], points=[(30.5, 60.5, 1), (90.5, 60.5, 0)])
    assert (out[62, 32] == 255).all()
    assert (out[62, 92] == 0).all()
    np.testing.assert_array_equal(out[..., 0], out[..., 1])


def test_what_is_outside_or_empty_draws_nothing():
    picture = grey(64)
    out = draw_overlay(picture, [("none", np.zeros((64, 64), bool))], [("gone", Box(100, 100, 120, 120))])
    np.testing.assert_array_equal(out, picture)


def test_wrong_sizes_are_named():
    with pytest.raises(UsageError, match=r"liver.*\(3, 3\)"):
        draw_overlay(grey(8), [("liver", np.zeros((3, 3), bool))])
    with pytest.raises(UsageError, match="RGB"):
        draw_overlay(np.zeros((8, 8), np.uint8), [])
