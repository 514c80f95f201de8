"""DICOM SEG: the same voxels after writing and reading, in every geometry, by highdicom, by position, by dciodvfy."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import warnings

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from tests.io.dicom_makers import bundled, dicom_bytes, save_all, volume_series
from vesalius.cases import Affine, Image
from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.io import read, write
from vesalius.io.dicom.seg import Algorithm, Segment, segmentation, write_seg
from vesalius.io.dicom.seg_codes import _table, property_codes
from vesalius.io.dicom.seg_read import read_seg
from vesalius.job import Job

ALGORITHM = Algorithm("nano", "0123abcd")
SHAPE = (4, 5, 6)
SPACING = (2.5, 0.7, 0.5)


def blob(shape=SHAPE, seed: int = 0) -> np.ndarray:
    """An asymmetric mask with an empty slice: no flip or transposition leaves it as it is."""
    mask = np.random.default_rng(seed).random(shape) < 0.3
    mask[1] = False
    return mask


def axis_orders() -> list[Affine]:
    """The 48 signed permutations of the patient's axes: half of them are left-handed."""
    out = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            m = np.zeros((4, 4))
            for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
                m[world, axis] = sign * SPACING[axis]
            m[:3, 3], m[3, 3] = (-12.25, 30.5, 101.125), 1
            out.append(Affine(m))
    return out


def oblique(handed: int = 1) -> Affine:
    a, b = 0.3, -0.7
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    m = np.eye(4)
    m[:3, :3] = x @ y @ np.diag(SPACING) @ np.diag([handed, 1, 1])
    m[:3, 3] = 1.0, -2.0, 3.0
    return Affine(m)


def sheared() -> Affine:
    m = oblique().matrix.copy()
    m[:3, 0] += 0.4 * m[:3, 1]
    return Affine(m)


def volume(affine: Affine, seed: int = 0) -> Image:
    array = np.random.default_rng(seed).integers(0, 255, SHAPE).astype(np.int16)
    return Image(array=array, kind="3d", affine=affine)


def places(affine: Affine, mask: np.ndarray) -> np.ndarray:
    """Patient positions of the voxels inside, sorted."""
    at = np.round(affine.to_patient(np.argwhere(mask)), 3) + 0.0
    return at[np.lexsort(at.T)]


def frame_places(ds: pydicom.Dataset) -> np.ndarray:
    """The same from the bytes of a SEG by pydicom alone: PS3.3 C.7.6.2.1.1 for each frame."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    iop = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows, columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    out = []
    for group, frame in zip(
        ds.PerFrameFunctionalGroupsSequence, np.reshape(ds.pixel_array, (-1, ds.Rows, ds.Columns)), strict=True
    ):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        r, c = np.nonzero(frame)
        out.append(position + np.outer(c, iop[:3] * columns) + np.outer(r, iop[3:] * rows))
    at = np.round(np.concatenate(out), 3) + 0.0
    return at[np.lexsort(at.T)]


@pytest.mark.parametrize("affine", [*axis_orders(), oblique(), oblique(-1)], ids=lambda a: a.axis_codes())
def test_voxels_are_the_same_in_every_axis_order(affine, tmp_path):
    image, mask = volume(affine), blob()
    path = write_seg(tmp_path / "s.dcm", image, [Segment("lesion", mask)], ALGORITHM)
    seg = hd.seg.segread(path)
    np.testing.assert_allclose(frame_places(seg), places(affine, mask), atol=2e-3)
    theirs = seg.get_volume(segment_numbers=[1], combine_segments=True)
    lps = Affine(theirs.affine)
    np.testing.assert_allclose(places(lps, theirs.array > 0), places(affine, mask), atol=2e-3)
    assert np.linalg.det(theirs.affine[:3, :3]) != 0
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)


def test_sheared_slices_keep_their_places(tmp_path):
    image, mask = volume(sheared()), blob()
    path = write_seg(tmp_path / "s.dcm", image, [Segment("", mask)], ALGORITHM)
    np.testing.assert_allclose(frame_places(pydicom.dcmread(path)), places(sheared(), mask), atol=2e-3)
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)
    assert region.label == "region 1"


def test_overlapping_segments_keep_apart(tmp_path):
    image, masks = volume(oblique()), [blob(seed=n) for n in range(3)]
    assert (masks[0] & masks[1]).any()
    names = ["Left lung", "a thing without a code", "tumour"]
    path = write_seg(tmp_path / "s.dcm", image, [Segment(*pair) for pair in zip(names, masks, strict=True)], ALGORITHM)
    regions = read_seg(path, image)
    assert [r.label for r in regions] == names
    for region, mask in zip(regions, masks, strict=True):
        np.testing.assert_array_equal(region.geometry.to_array(), mask)
    seg = hd.seg.segread(path)
    for n, mask in enumerate(masks, 1):
        theirs = seg.get_volume(segment_numbers=[n], combine_segments=True)
        assert (theirs.array > 0).sum() == mask.sum()
    lung, thing, _ = seg.SegmentSequence
    assert lung.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.SCT.Lung.value
    modifier = lung.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert modifier.CodeValue == codes.SCT.Left.value
    assert thing.SegmentedPropertyCategoryCodeSequence[0].CodeValue == codes.SCT.Tissue.value
    assert lung.SegmentAlgorithmType == "SEMIAUTOMATIC"
    algorithm = lung.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("nano", "0123abcd")


def test_a_volume_without_headers_names_nobody_and_keeps_one_study():
    image = volume(oblique())
    one, two = (segmentation(image, [Segment("", blob(seed=n))], ALGORITHM) for n in range(2))
    assert one.PatientID == one.PatientName == ""
    assert (one.StudyInstanceUID, one.FrameOfReferenceUID) == (two.StudyInstanceUID, two.FrameOfReferenceUID)
    assert one.SOPInstanceUID != two.SOPInstanceUID
    other = segmentation(volume(oblique(), seed=1), [Segment("", blob())], ALGORITHM)
    assert other.FrameOfReferenceUID != one.FrameOfReferenceUID
    moved = volume(oblique(-1))
    assert moved.content_hash() == image.content_hash()
    assert segmentation(moved, [Segment("", blob())], ALGORITHM).FrameOfReferenceUID != one.FrameOfReferenceUID
    assert all(e.keyword != "ReferencedSOPInstanceUID" for e in one.iterall())


def test_an_empty_mask_stays_empty(tmp_path):
    image = volume(oblique())
    empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    for masks in ([empty], [empty, full], [full, empty]):
        path = write_seg(tmp_path / "s.dcm", image, [Segment("", m) for m in masks], ALGORITHM)
        assert [r.geometry.area for r in read_seg(path, image)] == [int(m.sum()) for m in masks]
        hd.seg.segread(path)


def test_slices_of_a_series_are_referred_to(tmp_path):
    slices = volume_series(5)
    for ds in slices:
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.PatientName, ds.PatientID = "Müller^Jörg", "P1"
    (case,) = read(save_all(slices[::-1], tmp_path / "series"), Job(workers=1))
    (image,) = case.images
    mask = blob((5, 8, 10))
    path = write_seg(tmp_path / "s.dcm", image, [Segment("foie", mask)], ALGORITHM)
    seg = hd.seg.segread(path)
    assert (seg.StudyInstanceUID, seg.FrameOfReferenceUID) == (
        slices[0].StudyInstanceUID,
        slices[0].FrameOfReferenceUID,
    )
    assert seg.SeriesInstanceUID != slices[0].SeriesInstanceUID
    assert (str(seg.PatientName), seg.PatientID) == ("Müller^Jörg", "P1")
    inside = {slices[k].SOPInstanceUID for k in range(5) if mask[k].any()}
    referred = {
        g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for g in seg.PerFrameFunctionalGroupsSequence
    }
    assert referred == inside
    np.testing.assert_allclose(frame_places(seg), places(image.affine, mask), atol=2e-3)
    theirs = seg.get_pixels_by_source_instance(
        [ds.SOPInstanceUID for ds in slices],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    np.testing.assert_array_equal(theirs > 0, mask)
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)


def test_a_series_in_an_archive_is_referred_to(tmp_path):
    folder = save_all(volume_series(4), tmp_path / "series")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    (case,) = read(archive, Job(workers=1))
    mask = blob((4, 8, 10))
    path = write_seg(tmp_path / "s.dcm", case.images[0], [Segment("", mask)], ALGORITHM)
    (region,) = read_seg(path, case.images[0])
    np.testing.assert_array_equal(region.geometry.to_array(), mask)


def test_uneven_slices_go_where_they_refer_to(tmp_path):
    slices = volume_series(5)
    slices[4].ImagePositionPatient = [*slices[4].ImagePositionPatient[:2], 99.0]
    (case,) = read(save_all(slices[::-1], tmp_path / "series"), Job(workers=1))
    (image,) = case.images
    assert image.affine is None
    mask = blob((5, 8, 10))
    path = write_seg(tmp_path / "s.dcm", image, [Segment("", mask)], ALGORITHM)
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)
    (tmp_path / "other").mkdir()
    others = volume_series(5, seed="other")
    others[4].ImagePositionPatient = slices[4].ImagePositionPatient
    (case,) = read(save_all(others, tmp_path / "other"), Job(workers=1))
    with pytest.raises(BadInputError, match="refers to no slice"):
        read_seg(path, case.images[0])


@pytest.mark.parametrize("n", [1, 3])
def test_slices_without_a_thickness_are_read_by_others(n, tmp_path):
    slices = volume_series(n)
    for ds in slices:
        del ds.SliceThickness
    (case,) = read(save_all(slices, tmp_path / "series"), Job(workers=1))
    mask = np.ones(case.images[0].shape, bool)
    path = write_seg(tmp_path / "s.dcm", case.images[0], [Segment("", mask)], ALGORITHM)
    assert hd.seg.segread(path).pixel_array.sum() == mask.sum()
    (region,) = read_seg(path, case.images[0])
    np.testing.assert_array_equal(region.geometry.to_array(), mask)


def film(tmp_path) -> Image:
    ds = write.secondary_capture(np.arange(20, dtype=np.uint16).reshape(4, 5), modality="DX")
    ds.PixelSpacing, ds.FrameOfReferenceUID = [0.2, 0.2], "1.2.3"
    with warnings.catch_warnings(action="ignore"):
        ds.StudyTime = "15:18:59"  # as files of before 1993 write it
    (tmp_path / "film.dcm").write_bytes(dicom_bytes(ds))
    (case,) = read(tmp_path / "film.dcm", Job(workers=1))
    return case.images[0]


def test_a_film_is_referred_to_without_a_place(tmp_path):
    image, mask = film(tmp_path), blob((4, 5))
    path = write_seg(tmp_path / "s.dcm", image, [Segment("lung", mask)], ALGORITHM)
    seg = hd.seg.segread(path)
    np.testing.assert_array_equal(np.squeeze(seg.pixel_array) > 0, mask)
    assert "PixelMeasuresSequence" not in seg.SharedFunctionalGroupsSequence[0]
    assert seg.StudyTime == "151859"
    referred = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert referred.ReferencedSOPInstanceUID == pydicom.dcmread(tmp_path / "film.dcm").SOPInstanceUID
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)


def test_what_cannot_carry_a_seg_says_so(tmp_path):
    flat = Image(array=np.zeros((4, 5), np.uint8))
    with pytest.raises(UsageError, match="neither DICOM headers nor an affine"):
        segmentation(flat, [Segment("", blob((4, 5)))], ALGORITHM)
    loop = Image(array=np.zeros((3, 4, 5), np.uint8), kind="video")
    with pytest.raises(UsageError, match="loop"):
        segmentation(loop, [Segment("", blob((3, 4, 5)))], ALGORITHM)
    with pytest.raises(UsageError, match=r"shape.*\(1, 1\)"):
        segmentation(flat, [Segment("x", np.ones((1, 1), bool))], ALGORITHM)
    with pytest.raises(UsageError, match="nothing"):
        segmentation(flat, [], ALGORITHM)
    m = np.diag([2.0, 1, 1, 1])[[0, 1, 2, 3]]
    m[1, 2] = 0.5
    with pytest.raises(UsageError, match="right angles"):
        segmentation(volume(Affine(m)), [Segment("", blob())], ALGORITHM)
    ds = write.secondary_capture(np.zeros((4, 5), np.uint8))
    del ds.StudyInstanceUID
    (tmp_path / "x.dcm").write_bytes(dicom_bytes(ds))
    (case,) = read(tmp_path / "x.dcm", Job(workers=1))
    with pytest.raises(BadInputError, match="StudyInstanceUID"):
        segmentation(case.images[0], [Segment("", blob((4, 5)))], ALGORITHM)


def test_no_message_quotes_a_patient(tmp_path):
    ds = write.secondary_capture(np.zeros((4, 5), np.uint8))
    with warnings.catch_warnings(action="ignore"):
        ds.PatientName, ds.PatientBirthDate = "Doe Jane", "born 1950"
    (tmp_path / "x.dcm").write_bytes(dicom_bytes(ds))
    (case,) = read(tmp_path / "x.dcm", Job(workers=1))
    with warnings.catch_warnings(action="error"), pytest.raises(BadInputError) as caught:
        segmentation(case.images[0], [Segment("", blob((4, 5)))], ALGORITHM)
    assert "1950" not in str(caught.value)
    assert "Doe" not in str(caught.value)


def test_a_seg_of_another_grid_is_refused(tmp_path):
    path = write_seg(tmp_path / "s.dcm", volume(oblique()), [Segment("", blob())], ALGORITHM)
    with pytest.raises(BadInputError, match="another grid"):
        read_seg(path, volume(axis_orders()[0]))
    with pytest.raises(BadInputError, match="not a DICOM SEG"):
        read_seg(bundled()[0], volume(oblique()))
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadInputError):
        read_seg(cut, volume(oblique()))


def test_a_damaged_seg_gives_named_errors_only(tmp_path):
    image = volume(oblique())
    whole = write_seg(tmp_path / "s.dcm", image, [Segment("a", blob()), Segment("b", blob(seed=1))], ALGORITHM)
    data = whole.read_bytes()
    rng = np.random.default_rng(0)
    bad = tmp_path / "bad.dcm"
    messages, shapes = [], []
    for n in range(150):
        if n % 3:
            damaged = np.frombuffer(data, np.uint8).copy()
            at = rng.integers(132, len(damaged), 1 + n % 7)
            damaged[at] = rng.integers(0, 256, len(at))
            bad.write_bytes(damaged.tobytes())
        else:
            bad.write_bytes(data[: rng.integers(0, len(data))])
        try:
            shapes += [r.geometry.shape for r in read_seg(bad, image)]
        except VesaliusError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all("bad.dcm" in m for m in messages)
    assert set(shapes) == {SHAPE}


def test_a_seg_by_others_is_read(tmp_path):
    """Fractional, and with rows and columns exchanged: pixels go where their positions say."""
    affine = axis_orders()[0]
    image, mask = volume(affine), blob()
    swapped = Affine(affine.matrix[:, [0, 2, 1, 3]])
    turned = Image(array=image.pixels().transpose(0, 2, 1), kind="3d", affine=swapped)
    path = write_seg(tmp_path / "s.dcm", turned, [Segment("", mask.transpose(0, 2, 1))], ALGORITHM)
    (region,) = read_seg(path, image)
    np.testing.assert_array_equal(region.geometry.to_array(), mask)
    source = volume_series(4)
    share = np.random.default_rng(0).random((4, 8, 10))
    hd.seg.Segmentation(
        source, share, "FRACTIONAL", list(hd.seg.segread(path).SegmentSequence),
        hd.UID(), 1, hd.UID(), 1, "m", "m", "1", "1", omit_empty_frames=False,
    ).save_as(tmp_path / "f.dcm")  # fmt: skip
    (case,) = read(save_all(source, tmp_path / "series"), Job(workers=1))
    (region,) = read_seg(tmp_path / "f.dcm", case.images[0])
    stored = np.around(share * 255)
    np.testing.assert_array_equal(region.geometry.to_array(), stored > 127.5)


def test_the_codes_are_dicoms():
    """Every code of the table is in the dictionaries that pydicom takes from PS3.16."""
    categories = {(c.value, c.scheme_designator, c.meaning) for c in codes.cid7150.concepts.values()}
    concepts = (getattr(codes.SCT, keyword) for keyword in codes.SCT.dir())
    types = {(c.value, c.scheme_designator, c.meaning) for c in concepts}
    for name, (category, kind) in _table().items():
        assert category in categories, name
        assert kind in types, name
    assert property_codes("Right kidneys").side == ("24028007", "SCT", "Right")
    assert property_codes("left").side is None


DCIODVFY = shutil.which("dciodvfy")


@pytest.mark.skipif(DCIODVFY is None, reason="needs dciodvfy (Debian package dicom3tools)")
@pytest.mark.parametrize("source", ["volume", "series", "film"])
def test_dciodvfy_finds_no_error(source, tmp_path):
    if source == "volume":
        image, mask = volume(oblique()), blob()
    elif source == "series":
        (case,) = read(save_all(volume_series(4), tmp_path / "series"), Job(workers=1))
        image, mask = case.images[0], blob((4, 8, 10))
    else:
        image, mask = film(tmp_path), blob((4, 5))
    path = write_seg(tmp_path / "s.dcm", image, [Segment("left lung", mask), Segment("other", mask)], ALGORITHM)
    said = subprocess.run([DCIODVFY, "-new", str(path)], capture_output=True, text=True, timeout=60)
    assert "Segmentation" in said.stderr + said.stdout
    errors = [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")]
    assert errors == []
