"""SEGs that lie among other files become regions of the image that they segment; one that fits none is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.io.dicom_makers import save_all, volume_series
from vesalius.cases import CaseSet
from vesalius.io import read
from vesalius.io.dicom.seg import Algorithm, Segment, write_seg
from vesalius.job import Job

ALGORITHM = Algorithm("test", "1")


def mask(seed: int = 0, shape=(5, 8, 10)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) > 0.6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series, and a SEG of two segments of the first."""
    home = save_all(volume_series(5), tmp_path / "all" / "ct").parent
    save_all(volume_series(5, seed="other"), home / "other")
    (case,) = read(home / "ct", Job(workers=0))
    write_seg(home / "a.dcm", case.images[0], [Segment("liver", mask(0)), Segment("spleen", mask(1))], ALGORITHM)
    return home


@pytest.mark.parametrize("workers", [0, 1])
def test_a_seg_becomes_regions_of_its_image(folder, workers):
    cases = read(folder, Job(workers=workers))
    told = {str(c.images[0].uri).split("/")[0]: c for c in cases}
    assert cases.refused == []
    assert not told["other"].regions
    regions = told["ct"].regions
    assert [r.label for r in regions] == ["liver", "spleen"]
    for n, region in enumerate(regions):
        assert region.image == 0
        np.testing.assert_array_equal(region.geometry.to_array(), mask(n))
    # The same case as without the SEG: an index made before it came still knows it.
    assert told["ct"].id == next(iter(read(folder / "ct", Job(workers=0)))).id


def test_it_survives_a_written_case_set(folder, tmp_path):
    read(folder, Job(workers=0)).write(tmp_path / "kept")
    (case,) = [c for c in CaseSet.read(tmp_path / "kept") if c.regions]
    np.testing.assert_array_equal(case.regions[1].geometry.to_array(), mask(1))


def test_members_of_an_archive(folder, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    assert sorted(len(c.regions) for c in read(archive, Job(workers=0))) == [0, 2]


def test_a_seg_whose_image_is_elsewhere_is_named(folder):
    shutil.rmtree(folder / "ct")
    cases = read(folder, Job(workers=0))
    assert len(list(cases)) == 1
    ((item, why),) = cases.refused
    assert item == "a.dcm"
    assert "not among these files" in why


def test_a_seg_of_another_grid_is_named_and_the_image_stays(folder):
    ds = pydicom.dcmread(folder / "a.dcm")
    for group in ds.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = [900.0, 0.0, 0.0]
    ds.save_as(folder / "a.dcm")
    cases = read(folder, Job(workers=0))
    assert len(list(cases)) == 2
    assert not any(c.regions for c in cases)
    ((item, why),) = cases.refused
    assert item == "a.dcm"
    assert "grid" in why


def test_a_copy_of_a_seg_does_not_count_twice(folder):
    shutil.copy(folder / "a.dcm", folder / "b.dcm")
    cases = read(folder, Job(workers=0))
    assert sorted(len(c.regions) for c in cases) == [0, 2]
    ((item, why),) = cases.refused
    assert item == "b.dcm"
    assert "the same file as a.dcm" in why


def test_a_damaged_seg_costs_one_line(folder):
    data = bytearray((folder / "a.dcm").read_bytes())
    (folder / "a.dcm").write_bytes(data[: len(data) - 40])
    cases = read(folder, Job(workers=1))
    assert len(list(cases)) == 2
    assert [item for item, _ in cases.refused] == ["a.dcm"]
