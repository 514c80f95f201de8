"""Sizes of masks against shapes whose sizes are known, and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ellipe

from vesalius.errors import BadInputError
from vesalius.metrics.segmentation.sizes import ellipse_circumference, measure


def _ellipse(a, b, degrees=0.0, side=400, step=(1.0, 1.0)):
    """A filled ellipse with half-axes a, b in the unit of `step`."""
    y, x = (np.mgrid[:side, :side] + 0.5 - side / 2) * np.asarray(step)[:, None, None]
    t = math.radians(degrees)
    u, v = x * math.cos(t) + y * math.sin(t), -x * math.sin(t) + y * math.cos(t)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


@given(st.floats(30, 150), st.floats(0.3, 1), st.floats(0, 180))
def test_an_ellipse_has_its_own_axes_and_circumference_whichever_way_it_lies(a, ratio, degrees):
    found = measure(_ellipse(a, a * ratio, degrees))
    exact = 4 * a * ellipe(1 - ratio**2)
    # A drawn edge is off by up to half a pixel.
    assert found.major == pytest.approx(2 * a, abs=1)
    assert found.minor == pytest.approx(2 * a * ratio, abs=1)
    assert found.circumference == pytest.approx(exact, abs=math.pi)
    assert found.longest == pytest.approx(2 * a, abs=2)
    assert found.shortest == pytest.approx(2 * a * ratio, abs=2)
    assert found.area == pytest.approx(math.pi * a * a * ratio, rel=0.02)
    assert found.unit == "px"


def test_spacing_that_differs_along_the_axes_is_heard():
    step = (0.5, 0.25)
    found = measure(_ellipse(40, 20, 30, side=500, step=step), step)
    assert found.unit == "mm"
    assert found.major == pytest.approx(80, abs=0.5)
    assert found.minor == pytest.approx(40, abs=0.5)
    assert found.area == pytest.approx(math.pi * 800, rel=0.01)


@given(st.floats(1, 100), st.floats(0.2, 1))
def test_the_circumference_is_that_of_the_elliptic_integral(major, ratio):
    exact = 2 * major * ellipe(1 - ratio**2)
    assert ellipse_circumference(major, major * ratio) == pytest.approx(exact, rel=1e-4)


@given(st.integers(0, 2**32 - 1))
def test_axes_agree_with_scikit_image(seed):
    regionprops = pytest.importorskip("skimage.measure").regionprops
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 50), bool)
    for _ in range(4):
        y, x, h, w = rng.integers(0, 25), rng.integers(0, 30), rng.integers(2, 15), rng.integers(2, 15)
        mask[y : y + h, x : x + w] = True
    (theirs,) = regionprops(mask.astype(int))
    found = measure(mask)
    # Theirs takes pixels for points: a square adds a twelfth to the variance.
    assert found.major == pytest.approx(math.sqrt(theirs.axis_major_length**2 + 16 / 12))
    assert found.minor == pytest.approx(math.sqrt(theirs.axis_minor_length**2 + 16 / 12))
    # Theirs is measured between the middles of border pixels.
    assert found.longest == pytest.approx(theirs.feret_diameter_max, abs=math.sqrt(2) + 0.01)
    assert found.area == theirs.area


def test_a_box_has_its_diagonal_and_its_shorter_side():
    mask = np.zeros((20, 30), bool)
    mask[4:10, 5:25] = True
    found = measure(mask)
    assert found.longest == pytest.approx(math.hypot(6, 20))
    assert found.shortest == pytest.approx(6)


def test_a_volume_is_measured_in_its_largest_slice():
    mask = np.zeros((5, 20, 20), bool)
    mask[1, 5:8, 5:8] = True
    mask[3, 2:12, 2:12] = True
    found = measure(mask, (3.0, 0.5, 0.5))
    assert found.slice == 3
    assert found.volume == pytest.approx(109 * 0.75)
    assert found.area == pytest.approx(25)
    assert found.shortest == pytest.approx(5)


def test_one_pixel_has_a_size_and_nothing_has_none():
    mask = np.zeros((4, 4), bool)
    assert measure(mask) is None
    mask[1, 1] = True
    assert measure(mask).longest == pytest.approx(math.sqrt(2))
    assert set(measure(mask).to_dict()) == {"unit", "area", "longest", "shortest", "major", "minor", "circumference"}


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), (0.0, 1.0), (float("nan"), 1.0)])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(BadInputError, match="cannot be measured"):
        measure(np.ones((2, 2), bool), spacing)
