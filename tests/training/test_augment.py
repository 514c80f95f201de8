"""Augmentation measured on a picture whose channels are its own coordinates: what map was applied is then visible."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import REPEATED, close
from vesalius.training.augment import FREE, MIRROR, Augmentation, augment

SIDE = 64
#: No change of values, so that coordinates stay coordinates.
GEOMETRY = Augmentation(brightness=0, contrast=(1, 1), gamma=0, tint=(1, 1), erase=0)


def coordinates(n):
    y, x = np.mgrid[:SIDE, :SIDE]
    one = np.stack([60 + 2 * x, 60 + 2 * y, np.full((SIDE, SIDE), 200)]).astype(np.uint8)
    return np.repeat(one[None], n, 0)


def maps(modality, n=60, seed=0):
    """`(n, 2, 2)` linear parts of the map from result to source coordinates."""
    out = augment(coordinates(n), [modality] * n, SIDE, np.random.default_rng(seed), GEOMETRY).numpy()
    found = []
    for picture in out:
        inside = picture[2] > 199.99  # where nothing was cut in from outside
        y, x = np.nonzero(inside)
        assert len(x) > 200
        design = np.stack([x, y, np.ones(len(x))], 1)
        source = np.stack([(picture[0][inside] - 60) / 2, (picture[1][inside] - 60) / 2], 1)
        solved, *_ = np.linalg.lstsq(design, source, rcond=None)
        assert np.abs(design @ solved - source).max() < 0.2
        found.append(solved[:2].T)
    return np.stack(found)


@pytest.mark.parametrize("modality", ["DX", "CR", "CT", "MR", "OP", "MG", "PX", ""])
def test_a_picture_with_sides_is_never_mirrored_or_turned_far(modality):
    linear = maps(modality)
    assert (np.linalg.det(linear) > 0).all()
    u, _, vt = np.linalg.svd(linear)
    turned = u @ vt  # the nearest rotation
    angle = np.abs(np.arctan2(turned[:, 1, 0] - turned[:, 0, 1], turned[:, 0, 0] + turned[:, 1, 1]))
    assert angle.max() <= GEOMETRY.turn + 0.03
    assert angle.max() > GEOMETRY.turn / 2  # and it does turn


def test_ultrasound_is_mirrored_but_stays_upright():
    assert {"US"} == MIRROR
    linear = maps("US")
    flipped = np.linalg.det(linear) < 0
    assert 0.25 < flipped.mean() < 0.75
    assert (linear[:, 1, 1] > 0).all()  # down stays down


@pytest.mark.parametrize("modality", sorted(FREE))
def test_pictures_without_sides_are_turned_freely(modality):
    linear = maps(modality)
    assert 0.25 < (np.linalg.det(linear) < 0).mean() < 0.75
    angle = np.arctan2(linear[:, 1, 1], linear[:, 0, 1])
    assert np.histogram(angle, 4, (-np.pi, np.pi))[0].min() > 0


def test_scale_stays_in_its_range():
    area = np.abs(np.linalg.det(maps("DX")))
    low, high = GEOMETRY.scale
    # The stretch changes one axis against the other; the area follows the square of the scale.
    slack = np.exp(2 * GEOMETRY.stretch)
    assert area.min() > low**2 / slack
    assert area.max() < high**2 * slack


def test_the_rng_decides_everything():
    x = coordinates(6)
    kinds = ["DX", "US", "SM", "DMS", "GM", "MR"]
    a, b = (augment(x, kinds, 48, np.random.default_rng(3)) for _ in range(2))
    torch.manual_seed(5)
    close(a, b, REPEATED)
    assert not torch.allclose(a, augment(x, kinds, 48, np.random.default_rng(4)), rtol=0.01)
    assert a.shape == (6, 3, 48, 48)
    assert a.dtype == torch.float32
    assert torch.isfinite(a).all()
    assert float(a.min()) >= 0
    assert float(a.max()) <= 255
    assert np.array_equal(x, coordinates(6))  # the input is left alone


def test_grey_pictures_stay_grey():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (8, 1, SIDE, SIDE), dtype=np.uint8), 3, 1)
    out = augment(grey, ["DX", "US"] * 4, SIDE, np.random.default_rng(1), Augmentation(erase=0))
    close(out[:, 0], out[:, 1])
    close(out[:, 0], out[:, 2])
    tinted = augment(grey, ["SM"] * 8, SIDE, np.random.default_rng(1), Augmentation(erase=0))
    assert not torch.allclose(tinted[:, 0], tinted[:, 1])
