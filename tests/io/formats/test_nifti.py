"""NIfTI in all 48 axis orders, against nibabel's own arrays and affines; affines RAS, LPS and index and back."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.cases import Affine
from vesalius.io import read, write
from vesalius.job import Job

ORDERS = [
    "".join(a if keep else b for (a, b), keep in zip(pairs, signs, strict=True))
    for pairs in itertools.permutations([("R", "L"), ("A", "P"), ("S", "I")])
    for signs in itertools.product([True, False], repeat=3)
]


def test_there_are_48_orders():
    assert len(set(ORDERS)) == 48


def only(path):
    (case,) = read(path, Job(workers=0))
    (image,) = case.images
    return image


@pytest.mark.parametrize("order", ORDERS)
def test_every_voxel_stays_where_it_is(tmp_path, order):
    """The same place in the patient has the same value, whatever the order of the axes in the file."""
    rng = np.random.default_rng(0)
    base = nib.Nifti1Image(rng.normal(size=(4, 5, 6)).astype(np.float32), np.diag([1.5, 2.0, 3.0, 1.0]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt(("R", "A", "S")), nib.orientations.axcodes2ornt(tuple(order))
    )
    stored = base.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(stored.affine)) == order
    nib.save(stored, tmp_path / "a.nii")
    image = only(tmp_path / "a.nii")
    array = image.pixels()
    assert array.shape == image.shape
    data, affine = np.asarray(base.dataobj), base.affine
    for index in [(0, 0, 0), (3, 4, 5), (1, 3, 2), (2, 0, 4)]:
        ras = affine @ (*index, 1)
        place = np.rint(image.affine.to_index((-ras[0], -ras[1], ras[2]))).astype(int)
        assert array[tuple(place)] == data[index]
    # Slices are shown as on a DICOM viewer, and the file's third axis stays the slice axis.
    shown = {"S": "HPL", "I": "HPL", "A": "PFL", "P": "PFL", "R": "LFP", "L": "LFP"}[order[2]]
    assert image.affine.axis_codes() == shown


@pytest.mark.parametrize("order", ORDERS[::5])
def test_write_then_read_gives_the_same_places(tmp_path, order):
    rng = np.random.default_rng(1)
    ras = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(tuple(order)), (4, 5, 6)) @ np.diag(
        [2, 1, 3, 1.0]
    )
    affine = Affine.from_ras(ras[:, [2, 1, 0, 3]])
    array = rng.integers(-1000, 3000, (6, 5, 4)).astype(np.int16)
    write.write_nifti(tmp_path / "a.nii.gz", array, affine)
    image = only(tmp_path / "a.nii.gz")
    back = image.pixels()
    assert back.dtype == np.int16
    for index in np.ndindex(*array.shape):
        place = np.rint(image.affine.to_index(affine.to_patient(index))).astype(int)
        assert back[tuple(place)] == array[index]


@given(st.lists(st.floats(-100, 100), min_size=12, max_size=12), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
@settings(max_examples=80, deadline=None)
def test_affine_round_trips(numbers, index):
    m = np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
    if np.linalg.cond(m[:3, :3]) > 1e4 or abs(np.linalg.det(m[:3, :3])) < 1e-3:
        return
    affine = Affine(m)
    np.testing.assert_allclose(Affine.from_ras(affine.to_ras()).matrix, m)
    np.testing.assert_allclose(affine.to_index(affine.to_patient(index)), index, atol=1e-6)
    ras = affine.to_ras() @ (*index, 1)
    np.testing.assert_allclose(affine.to_patient(index), (-ras[0], -ras[1], ras[2]), atol=1e-9)


def test_values_are_nibabels_with_slope_and_intercept(tmp_path):
    stored = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    stored.header.set_slope_inter(0.5, -3)
    nib.save(stored, tmp_path / "a.nii")
    expected = np.sort(np.asarray(nib.load(tmp_path / "a.nii").dataobj).ravel())
    np.testing.assert_allclose(np.sort(only(tmp_path / "a.nii").pixels().ravel()), expected)


def test_four_dimensions_are_one_case_of_many_images(tmp_path):
    data = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "a.nii.gz")
    (case,) = read(tmp_path / "a.nii.gz", Job(workers=0))
    assert [i.frame for i in case.images] == list(range(6))
    for t, image in enumerate(case.images):
        np.testing.assert_array_equal(np.sort(image.pixels().ravel()), np.sort(data[..., t].ravel()))


def test_sform_and_qform_that_disagree_are_named(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), None)
    image.set_sform(np.diag([1, 1, 1, 1.0]), 1)
    image.set_qform(np.diag([2, 2, 2, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii")
    found = only(tmp_path / "a.nii")
    assert "sform and qform disagree: the sform is used" in found.meta["faults"]
    np.testing.assert_allclose(found.spacing, (1, 1, 1))


def test_no_orientation_is_named(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), None)
    nib.save(image, tmp_path / "a.nii")
    found = only(tmp_path / "a.nii")
    assert found.affine is None
    assert any("left and right are not known" in f for f in found.meta["faults"])


def test_labels_stay_on_their_image(shared_data):
    """Image and label volume of the hippocampus set agree in shape and affine after reading."""
    pairs = list((shared_data / "hippocampus").rglob("*.nii*"))[:0] or sorted(
        (shared_data / "hippocampus").rglob("*.nii*")
    )
    by_name: dict[str, list] = {}
    for path in pairs:
        by_name.setdefault(path.name, []).append(path)
    twins = next(v for v in by_name.values() if len(v) == 2)
    a, b = (only(p) for p in twins)
    assert a.pixels().shape == b.pixels().shape
    np.testing.assert_allclose(a.affine.matrix, b.affine.matrix, atol=1e-4)
