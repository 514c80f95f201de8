"""Order, spacing and faults of slice stacks, against hand-made geometry and against SimpleITK's series reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.dicom_makers import dicom_bytes, save_all, volume_series
from vesalius.errors import BadInputError
from vesalius.io import read
from vesalius.io.dicom.stacking import Slice, stacks
from vesalius.job import Job

AXIAL = (1.0, 0, 0, 0, 1.0, 0)


def at(*heights: float, phases=()) -> list[Slice]:
    return [Slice(n, (0.0, 0.0, h), n, phases[n] if phases else (), f"s{n}") for n, h in enumerate(heights)]


def only(folder: Path):
    cases = read(folder, Job(workers=0))
    assert cases.refused == []
    (case,) = cases
    (image,) = case.images
    return image


def test_slices_come_in_order_of_position():
    (stack,) = stacks(at(30, 0, 20, 10), AXIAL, (0.5, 0.7))
    assert stack.order == (1, 3, 2, 0)
    assert stack.gap == 10
    assert stack.faults == ()
    np.testing.assert_allclose(stack.affine.to_patient((2, 3, 4)), (4 * 0.7, 3 * 0.5, 20))


@given(st.permutations(range(7)), st.floats(0.2, 9), st.floats(-80, 80), st.floats(-80, 80))
@settings(max_examples=60, deadline=None)
def test_affine_puts_every_slice_where_its_header_says(order, gap, a, b):
    """The affine of a stack in any orientation and file order gives back each slice's own position."""
    rx, rz = np.radians([a, b])
    turn = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    turn = turn @ np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    row, column, normal = turn.T
    places = [np.array([5.0, -7, 3]) + k * gap * normal for k in order]
    slices = [Slice(n, tuple(p), n) for n, p in enumerate(places)]
    (stack,) = stacks(slices, (*row, *column), (0.8, 0.6))
    assert [order[i] for i in stack.order] == sorted(order)
    for place, index in enumerate(stack.order):
        np.testing.assert_allclose(stack.affine.to_patient((place, 0, 0)), places[index], atol=1e-6)
    np.testing.assert_allclose(stack.affine.spacing, (gap, 0.8, 0.6), rtol=1e-6)


def test_missing_slices_are_named():
    (stack,) = stacks(at(0, 2, 4, 8, 10, 16), AXIAL, (1, 1))
    assert stack.affine is None
    assert stack.faults == ("missing slices: 1 after slice 3, 2 after slice 5",)


def test_uneven_spacing_is_named():
    (stack,) = stacks(at(0, 2, 4.7, 6.3, 8), AXIAL, (1, 1))
    assert "not evenly spaced" in stack.faults[0]


def test_gantry_tilt_is_named_and_the_affine_is_sheared():
    slices = [Slice(n, (0.0, n * 1.0, n * 2.0), n) for n in range(5)]
    (stack,) = stacks(slices, AXIAL, (1, 1))
    assert "gantry tilt: slices are sheared by 26.6 degrees" in stack.faults
    np.testing.assert_allclose(stack.affine.to_patient((4, 0, 0)), (0, 4, 8))


def test_spacing_between_slices_that_disagrees_is_named():
    (stack,) = stacks(at(0, 2, 4), AXIAL, (1, 1), spacing_between=5)
    assert stack.faults == ("SpacingBetweenSlices says 5 mm, positions say 2 mm",)


def test_four_dimensions_are_split_by_what_names_the_phase():
    heights = [0, 2, 4, 0, 2, 4]
    phases = [(("EchoNumbers", 1.0 + n // 3),) for n in range(6)]
    found = stacks(at(*heights, phases=phases), AXIAL, (1, 1))
    assert [s.order for s in found] == [(0, 1, 2), (3, 4, 5)]


def test_four_dimensions_without_names_are_dealt_by_number():
    found = stacks(at(0, 0, 2, 2, 4, 4), AXIAL, (1, 1))
    assert [s.order for s in found] == [(0, 2, 4), (1, 3, 5)]


def test_two_slices_at_one_place_are_refused_by_name():
    with pytest.raises(BadInputError, match="s2"):
        stacks(at(0, 2, 2, 4), AXIAL, (1, 1))


def test_one_place_over_time_is_a_video():
    (stack,) = stacks(at(5, 5, 5, 5), AXIAL, (1, 1))
    assert stack.moving
    assert stack.order == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "cosines",
    [AXIAL, (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, 1, 0), (0.8, 0.6, 0, -0.6, 0.8, 0)],
    ids=["axial", "coronal", "sagittal", "negated row", "oblique"],
)
def test_series_as_simpleitk_reads_it(tmp_path, cosines):
    sitk = pytest.importorskip("SimpleITK")
    datasets = volume_series(5, cosines=cosines)
    order = [3, 0, 4, 1, 2]
    folder = save_all([datasets[i] for i in order], tmp_path / "s")
    image = only(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs = reader.Execute()
    np.testing.assert_array_equal(image.pixels(), sitk.GetArrayFromImage(theirs))
    for index in ((0, 0, 0), (4, 7, 9), (2, 3, 1)):
        np.testing.assert_allclose(
            image.affine.to_patient(index), theirs.TransformIndexToPhysicalPoint(index[::-1]), atol=1e-3
        )
    assert image.kind == "3d"
    assert image.shape == (5, 8, 10)
    np.testing.assert_allclose(image.spacing, (2.5, 0.7, 0.5))


def test_a_localiser_inside_is_a_case_of_its_own(tmp_path):
    datasets = volume_series(5)
    datasets[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    cases = list(read(save_all(datasets, tmp_path / "s"), Job(workers=0)))
    assert sorted(c.images[0].kind for c in cases) == ["2d", "3d"]
    scout = next(c.images[0] for c in cases if c.images[0].kind == "2d")
    assert "localiser" in scout.meta["faults"]


def test_mixed_orientations_are_split_and_named(tmp_path):
    a, b = volume_series(4), volume_series(3, cosines=(1, 0, 0, 0, 0, -1), seed="t")
    for ds in b:
        ds.SeriesInstanceUID = a[0].SeriesInstanceUID
    cases = list(read(save_all([*a, *b], tmp_path / "s"), Job(workers=0)))
    assert sorted(c.images[0].shape for c in cases) == [(3, 8, 10), (4, 8, 10)]
    assert all("split into 2 parts" in c.images[0].meta["faults"][0] for c in cases)
    assert len({c.id for c in cases}) == 2
    assert {c.images[0].view for c in cases} == {"AXIAL", "CORONAL"}


def test_a_series_scattered_over_folders_is_one_volume(tmp_path):
    for n, ds in enumerate(volume_series(4)):
        (tmp_path / f"{n % 2}").mkdir(exist_ok=True)
        (tmp_path / f"{n % 2}" / f"{n}.dcm").write_bytes(dicom_bytes(ds))
    image = only(tmp_path)
    np.testing.assert_array_equal(image.pixels()[:, 0, 0], [0, 100, 200, 300])


def test_hounsfield_units_stay(tmp_path):
    image = only(save_all(volume_series(3), tmp_path / "s"))
    assert image.pixels().dtype == np.int16
    assert image.modality == "CT"
    assert image.pixels().min() == 0


def test_slopes_that_differ_by_slice_are_each_applied(tmp_path):
    datasets = volume_series(3)
    for n, ds in enumerate(datasets):
        ds.Modality, ds.RescaleIntercept, ds.RescaleSlope = "PT", 0, 0.5 * (n + 1)
    image = only(save_all(datasets, tmp_path / "s"))
    stored = np.array([1024, 1124, 1224]) * [0.5, 1.0, 1.5]
    np.testing.assert_allclose(image.pixels()[:, 0, 0], stored)


def test_single_slice_has_an_affine(tmp_path):
    image = only(save_all(volume_series(1), tmp_path / "s"))
    assert image.kind == "2d"
    np.testing.assert_allclose(image.affine.to_patient((0, 2, 3)), (-10 + 1.5, 20 + 1.4, 30))
