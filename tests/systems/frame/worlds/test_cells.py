"""Crops around marked things: in the middle, at the edge, once each, with their patients."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import Case, Image, Region
from vesalius.cases.geometry import Box, Point
from vesalius.systems.frame.inputs import known
from vesalius.systems.frame.worlds.cells import crops


def case():
    array = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    regions = (
        Region(Point(10, 5), "a"),
        Region(Point(10, 5), "a"),  # marked twice
        Region(Box(17, 7, 24, 14), "b"),
        Region(Point(0, 0), "b"),
        Region(Point(3, 3), "other"),
    )
    return Case("c", "p", images=(Image(array=array, modality="GM"),), regions=regions)


def test_a_crop_is_the_square_around_its_point():
    found = {c.id: c for c in crops([case()], ("a", "b"), 4, 10, 0)}
    assert list(found) == ["c@0,0", "c@5,10", "c@10,20"]
    array = case().images[0].pixels()
    np.testing.assert_array_equal(found["c@5,10"].images[0].pixels(), array[3:7, 8:12])
    np.testing.assert_array_equal(found["c@10,20"].images[0].pixels(), array[8:12, 18:22])
    assert found["c@10,20"].label("class") == "b"
    assert {c.group for c in found.values()} == {"p"}
    assert found["c@5,10"].images[0].modality == "GM"


def test_the_edge_is_mirrored():
    corner = crops([case()], ("b",), 4, 10, 0)[0].images[0].pixels()
    array = case().images[0].pixels()
    np.testing.assert_array_equal(corner, array[np.ix_([2, 1, 0, 1], [2, 1, 0, 1])])


@pytest.mark.parametrize("each", [1, 2])
def test_no_more_than_asked_for_of_each_kind(each):
    assert len(crops([case()], ("a", "b"), 4, each, 0)) == 1 + each


def test_class_numbers_are_those_of_training():
    cases = [case().replace(id=k, labels={"class": k}) for k in ("c", "a", "unseen")]
    kept, y = known(cases, ("a", "b", "c"))
    assert [c.id for c in kept] == ["c", "a"]
    assert y.tolist() == [2, 0]
