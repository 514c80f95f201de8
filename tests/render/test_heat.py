"""Heat over a picture: strongest where the weight is, nothing where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.errors import UsageError
from vesalius.render.heat import COLOUR, STRONGEST, draw_heat


def test_tint_is_where_the_weight_is():
    picture = np.full((40, 60, 3), 100, np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[0, 5] = 0.2
    out = draw_heat(picture, heat)
    assert out.shape == picture.shape
    np.testing.assert_array_equal(out[30, 5], picture[30, 5])
    strongest = (1 - STRONGEST) * 100 + STRONGEST * np.asarray(COLOUR)
    np.testing.assert_allclose(out[5, 55], strongest, atol=12)
    assert (picture == 100).all()


def test_no_weight_no_tint_and_bad_maps_are_refused():
    picture = np.full((8, 8, 3), 7, np.uint8)
    np.testing.assert_array_equal(draw_heat(picture, np.zeros((2, 2))), picture)
    for heat in (np.zeros(4), np.full((2, 2), np.nan)):
        with pytest.raises(UsageError, match="finite grid"):
            draw_heat(picture, heat)
    with pytest.raises(UsageError, match="RGB"):
        draw_heat(picture[..., 0], np.zeros((2, 2)))
