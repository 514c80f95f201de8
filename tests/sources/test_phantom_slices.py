"""Slices of drawn volumes lie where they say, the right way up, with the masks and labels that they show."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.errors import UsageError
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.sources.phantom.slices import PLANES, slices


def drawn(study: str, index: int = 0):
    config = PhantomConfig(studies={study: 1.0}, seed=3, size_3d=48, questions=False)
    return Phantom(config).case(index)


@pytest.mark.parametrize(("study", "modalities"), [("ct", {"CT"}), ("pet", {"CT", "PT"}), ("brain_mr", {"MR"})])
def test_three_planes_of_each_volume(study: str, modalities: set[str]) -> None:
    case = drawn(study)
    cut = list(slices(case, each=2, seed=1))
    assert len(cut) == len(case.images) * 3 * 2
    assert {c.images[0].modality for c in cut} == modalities
    assert {c.images[0].meta["plane"] for c in cut} == set(PLANES)
    assert len({c.id for c in cut}) == len(cut)
    assert {c.patient for c in cut} == {case.group}
    assert [c.id for c in slices(case, each=2, seed=1)] == [c.id for c in cut]
    for one in cut:
        image = one.images[0]
        assert image.kind == "2d"
        assert image.pixels().shape == (48, 48)
        number, plane, at = one.id.rpartition("@")[2].split("-")
        source = np.take(case.images[int(number)].pixels(), int(at), axis=PLANES[plane])
        same = np.array_equal(image.pixels(), source) or np.array_equal(image.pixels(), source[::-1])
        assert same
        assert len(image.spacing) == 2
        for region in one.regions:
            assert region.image == 0
            assert region.geometry.shape == image.pixels().shape
            assert region.geometry.area > 0


def test_the_head_end_is_up() -> None:
    """The lungs of a drawn trunk lie above its belly: air is in the upper half of a coronal slice."""
    case = drawn("ct")
    lungs = {r.label: r.geometry for r in case.regions}
    assert any("lung" in name for name in lungs)
    coronal = next(iter(slices(case, ["coronal"], each=1)))
    rows = [np.argwhere(r.geometry.to_array())[:, 0].mean() for r in coronal.regions if r.label.endswith(" lung")]
    low = [np.argwhere(r.geometry.to_array())[:, 0].mean() for r in coronal.regions if r.label in ("liver", "spleen")]
    assert rows
    assert not low or max(rows) < min(low)
    assert np.mean(rows) < 30


def test_a_finding_is_labelled_where_its_mask_is_cut() -> None:
    both = set()
    for index in range(12):
        case = drawn("ct", index)
        for one in slices(case, each=4):
            shown = {r.label for r in one.regions}
            for name in ("nodule", "mass", "liver lesion", "renal cyst"):
                if case.label(name) == 1 and one.label(name) is not None:
                    assert one.label(name) == int(name in shown)
                    both.add(one.label(name))
                if case.label(name) == 0:
                    assert one.label(name) == 0
    assert both == {0, 1}


def test_pictures_give_none_and_planes_are_named() -> None:
    assert list(slices(drawn("fundus"))) == []
    with pytest.raises(UsageError, match="oblique"):
        list(slices(drawn("ct"), ["oblique"]))
