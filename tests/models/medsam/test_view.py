"""How a picture lies in the encoder's square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.medsam.view import Frame, view_of

SIDES = st.integers(1, 700)


@given(SIDES, SIDES)
def test_the_longer_side_fits_and_corners_stay_corners(height, width):
    frame = Frame(height, width, 256)
    h, w = frame.inside
    assert max(h, w) == 256
    assert min(h, w) >= 1
    assert frame.place(0, 0) == (0, 0)
    assert frame.place(width, height) == pytest.approx((w / 256, h / 256))


@given(st.integers(20, 300), st.integers(20, 300))
def test_a_mask_in_the_square_covers_its_share_of_the_picture(height, width):
    mask = np.zeros((height, width), bool)
    mask[: height // 2, : width // 2] = True
    frame = Frame(height, width, 256)
    h, w = frame.inside
    put = frame.put(mask)
    assert not put[h:].any()
    assert not put[:, w:].any()
    # An edge may fall on either side of a pixel of the square: one row and one column of the smaller grid.
    assert put[:h, :w].mean() == pytest.approx(mask.mean(), abs=1 / min(h, height) + 1 / min(w, width))


def test_values_are_stretched_and_what_is_left_over_is_zero():
    picture = np.full((100, 200), 60, np.uint8)
    picture[:, 100:] = 120
    view, frame = view_of(Image(array=picture), 0, 256)
    assert view.shape == (3, 256, 256)
    assert frame.inside == (128, 256)
    assert view[:, :128, :120].max() == 0
    assert view[:, :128, 136:].min() == 1
    assert view[:, 128:].max() == 0
    assert (view[0] == view[2]).all()


def test_colours_stay_apart():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[..., 0], picture[..., 1] = 200, 100
    view, _ = view_of(Image(array=picture), 0, 256)
    assert view[:, 5, 5] == pytest.approx([1, 0.5, 0])


def test_there_is_no_such_slice():
    volume = Image(array=np.zeros((4, 8, 8), np.int16), kind="3d")
    with pytest.raises(UsageError, match="no such slice"):
        view_of(volume, 4, 256)
