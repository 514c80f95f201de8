"""What real folders hold: pairs of files, gaps in a series, results beside inputs; and masks on their file's grid."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from tests.io.dicom_makers import dicom_bytes, save_all, volume_series
from vesalius.cases import Affine, CaseSet
from vesalius.io import read, write
from vesalius.job import Job

ORDERS = [
    "".join(a if keep else b for (a, b), keep in zip(pairs, signs, strict=True))
    for pairs in itertools.permutations([("R", "L"), ("A", "P"), ("S", "I")])
    for signs in itertools.product([True, False], repeat=3)
]


def noted(folder):
    notes: list[str] = []
    job = Job(workers=0, on_note=notes.append)
    cases = read(folder, job)
    return list(cases), notes, cases.refused


@pytest.mark.parametrize(("kept", "word"), [((0, 1, 2, 3, 6, 7), "missing slices: 2 after slice 4"),
                                            ((0, 1, 2, 3, 4, 6), "missing slices: 1 after slice 5")])  # fmt: skip
def test_a_gap_is_named_in_report_and_case(tmp_path, kept, word):
    slices = volume_series(8)
    save_all([slices[k] for k in kept], tmp_path)
    (case,), notes, _ = noted(tmp_path)
    assert any(word in note for note in notes)
    assert word in case.attributes["faults"]
    assert case.images[0].affine is None


def test_a_tilt_and_uneven_places_are_named_and_an_even_series_is_not(tmp_path):
    save_all(volume_series(5), tmp_path / "even")
    save_all(volume_series(5, seed="t", step=[0, 0.9, 2.5]), tmp_path / "tilt")
    odd = volume_series(5, seed="o")
    odd[2].ImagePositionPatient[2] += 0.8
    save_all(odd, tmp_path / "odd")
    for name, word in (("even", ""), ("tilt", "gantry tilt"), ("odd", "not evenly spaced")):
        (case,), notes, _ = noted(tmp_path / name)
        assert [word in note for note in notes] == [True] * bool(word)
        assert ("faults" in case.attributes) is bool(word)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ask", ["folder", "a.hdr", "a.img"])
def test_a_nifti_pair_is_one_volume(tmp_path, packed, ask):
    array = np.arange(6 * 8 * 10).reshape(6, 8, 10).astype(np.int16)
    nib.save(nib.Nifti1Pair(array, np.diag([1.5, 2, 3, 1])), tmp_path / "a.img")
    nib.save(nib.Nifti1Image(array, np.diag([1.5, 2, 3, 1])), tmp_path / "whole.nii")
    if packed:
        for end in ("hdr", "img"):
            (tmp_path / f"a.{end}.gz").write_bytes(gzip.compress((tmp_path / f"a.{end}").read_bytes()))
            (tmp_path / f"a.{end}").unlink()
    (found,) = read(tmp_path / "whole.nii", Job(workers=0))
    voxels, affine = found.images[0].pixels(), found.images[0].affine
    (tmp_path / "whole.nii").unlink()
    found = read(tmp_path if ask == "folder" else tmp_path / (ask + ".gz" * packed), Job(workers=0))
    (case,) = found
    assert found.refused == []
    np.testing.assert_array_equal(case.images[0].pixels(), voxels)
    assert case.images[0].affine == affine


def test_pairs_of_one_header_are_two_volumes_and_half_a_pair_is_named(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        nib.save(nib.Nifti1Pair(np.full((4, 5, 6), value, np.int16), np.eye(4)), tmp_path / f"{name}.img")
    assert len(list(read(tmp_path, Job(workers=0)))) == 2
    (tmp_path / "b.img").unlink()
    found = read(tmp_path, Job(workers=0))
    assert len(list(found)) == 1
    assert "b.img" in found.refused[0][1]


def test_analyze_is_read_and_its_want_of_an_orientation_is_said(tmp_path):
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.int16)
    nib.save(nib.AnalyzeImage(array, np.eye(4)), tmp_path / "a.img")
    (case,), notes, _ = noted(tmp_path)
    np.testing.assert_array_equal(case.images[0].pixels(), array.T)
    assert "left and right are not known" in case.attributes["faults"]
    assert len(notes) == 1
    assert case.images[0].affine is None


@pytest.mark.parametrize("order", [*ORDERS, "oblique"])
def test_a_mask_lies_on_the_grid_of_its_file(tmp_path, order):
    """Voxel by voxel against nibabel's own array, and in world space through ITK."""
    array = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    stored = nib.Nifti1Image(array, np.diag([1.5, 2, 3, 1]))
    if order == "oblique":
        c, s = np.cos(0.3), np.sin(0.3)
        turn = np.array([[c, -s, 0, 7], [s, c, 0, -9], [0, 0, 1, 11], [0, 0, 0, 1]])
        stored = nib.Nifti1Image(array, turn @ stored.affine)
    else:
        stored = stored.as_reoriented(
            nib.orientations.ornt_transform(
                nib.orientations.axcodes2ornt(("R", "A", "S")), nib.orientations.axcodes2ornt(tuple(order))
            )
        )
    nib.save(stored, tmp_path / "a.nii.gz")
    (case,) = read(tmp_path / "a.nii.gz", Job(workers=0))
    image = case.images[0]
    write.write_mask(tmp_path / "m.nii.gz", (image.pixels() > 500).astype(np.uint8), image)
    mask = nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(stored.dataobj) > 500)
    np.testing.assert_allclose(mask.affine, stored.affine, atol=1e-4)  # float32 in the header, tens of mm
    theirs, ours = (SimpleITK.ReadImage(str(tmp_path / n)) for n in ("a.nii.gz", "m.nii.gz"))
    for index in [(0, 0, 0), (2, 1, 3), tuple(n - 1 for n in theirs.GetSize())]:
        place = theirs.TransformIndexToPhysicalPoint(index)
        assert ours.TransformPhysicalPointToIndex(place) == index
        assert ours[index] == (theirs[index] > 500)


def test_a_mask_on_a_series_lies_where_itk_reads_it(tmp_path):
    array = np.random.default_rng(0).integers(0, 1000, (5, 7, 6)).astype(np.int16)
    slices = write.series(array, Affine(np.array([[0, 0, 0.5, 4], [0, 0.7, 0, 5], [2.5, 0, 0, 6], [0, 0, 0, 1.0]])))
    save_all(slices[::-1], tmp_path / "ct")
    (case,) = read(tmp_path / "ct", Job(workers=0))
    image = case.images[0]
    write.write_mask(tmp_path / "m.nii.gz", (image.pixels() > 500).astype(np.uint8), image)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    theirs, ours = reader.Execute(), SimpleITK.ReadImage(str(tmp_path / "m.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(ours), SimpleITK.GetArrayFromImage(theirs) > 500)
    for index in [(0, 0, 0), (5, 6, 4)]:
        a, b = (x.TransformIndexToPhysicalPoint(index) for x in (theirs, ours))
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_results_beside_inputs_are_passed_over(tmp_path):
    (tmp_path / "film").write_bytes(dicom_bytes(write.secondary_capture(np.zeros((4, 4), np.uint16), modality="DX")))
    first = list(read(tmp_path, Job(workers=0)))
    assert len(first) == 1
    CaseSet(first).write(tmp_path / "set")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "library.sqlite").write_bytes(b"SQLite format 3\0")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps({"schema": 1, "verb": "classify"}))
    shutil.copy(tmp_path / "film", tmp_path / "run" / "overlay.dcm")
    cases, notes, refused = noted(tmp_path)
    assert [c.id for c in cases] == [first[0].id]
    assert refused == []
    assert sorted(n.split(":")[0] for n in notes) == ["lib", "run", "set"]
    shutil.copy(tmp_path / "run" / "run.json", tmp_path / "run.json")
    assert noted(tmp_path)[2] == []
    assert len(list(read(tmp_path / "run", Job(workers=0)))) == 1  # asked for by name
