"""From slice to volume: a cone is followed to both ends, a second object is not, and a bad score ends it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.fakes import FakeSegmenter
from vesalius.cases import Image
from vesalius.cases.geometry import Box
from vesalius.errors import UsageError
from vesalius.models.propagate import propagate
from vesalius.models.protocols import Prompt


def cone() -> np.ndarray:
    """Slices 2 to 9 hold a disc that grows and wanders; another disc lies far from it in all slices."""
    y, x = np.mgrid[:48, :48]
    out = np.zeros((12, 48, 48), np.uint8)
    for k in range(2, 10):
        out[k][(x - 12 - k / 2) ** 2 + (y - 14) ** 2 <= (2 + k / 3) ** 2] = 200
    return out


def other(array: np.ndarray) -> np.ndarray:
    out = array.copy()
    out[:, 38:44, 38:44] = 200
    return out


def walk(model: FakeSegmenter, array: np.ndarray, start: int, **options):
    image = Image(array=array, kind="3d")
    first = model.segment(model.encode(image, start), Prompt(box=Box(6, 6, 26, 24), text="mass"))
    return propagate(model, lambda k: model.encode(image, k), len(array), start, first, **options)


@pytest.mark.parametrize("start", [2, 5, 9])
def test_a_growing_structure_is_followed_to_both_ends(start):
    model = FakeSegmenter()
    found = walk(model, other(cone()), start, text="mass")
    np.testing.assert_array_equal(found.mask, cone() > 0)
    assert found.start == start
    assert np.isnan(found.scores[[0, 11]]).all()
    assert not np.isnan(found.scores[2:10]).any()


def test_each_slice_is_prompted_by_its_neighbour():
    model = FakeSegmenter()
    walk(model, cone(), 5, text="mass")
    follow = model.prompts[1]
    assert follow.text == "mass"
    assert follow.points == ()
    rows, columns = np.nonzero(cone()[5])
    box = follow.box
    assert box.x0 < columns.min()
    assert box.x1 > columns.max() + 1
    assert box.y0 < rows.min()
    assert box.y1 > rows.max() + 1
    assert follow.previous is not None


def test_no_slice_beyond_the_end_is_encoded_and_none_twice():
    model = FakeSegmenter()
    walk(model, cone(), 5)
    assert sorted(model.encoded) == list(range(1, 11))


def test_a_low_score_ends_the_walk_and_is_told():
    small = FakeSegmenter(score=lambda mask: 0.9 if mask.sum() > 40 else 0.2)
    found = walk(small, cone(), 8)
    kept = np.flatnonzero(found.mask.any(axis=(1, 2)))
    sizes = (cone() > 0).sum(axis=(1, 2))
    assert kept.tolist() == [k for k in range(12) if sizes[k] > 40]
    assert found.scores[kept[0] - 1] == pytest.approx(0.2)
    nan = FakeSegmenter(score=lambda mask: float("nan"))
    assert walk(nan, cone(), 5).mask.any(axis=(1, 2)).sum() == 1


def test_an_empty_first_mask_goes_nowhere():
    model = FakeSegmenter()
    found = walk(model, np.zeros((4, 48, 48), np.uint8), 1)
    assert not found.mask.any()
    assert model.encoded == [1]
    first = model.segment(model.encode(Image(array=cone(), kind="3d"), 5), Prompt())
    with pytest.raises(UsageError, match="4 slices"):
        propagate(model, model.encode, 4, 4, first)
