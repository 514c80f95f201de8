"""Modality values against pydicom's own arrays and against SimpleITK (GDCM), over all files that pip brought."""

from __future__ import annotations

import collections
import hashlib
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_modality_lut

from tests.io.dicom_makers import bundled, dicom_bytes, jpeg_lossless
from vesalius.cases import Image
from vesalius.errors import BadInputError, UnsafeInputError, VesaliusError
from vesalius.io import read_pixels, write
from vesalius.io.dicom.pixels import codestream_size, read_dicom, rescale
from vesalius.io.limits import Limits

FILES = bundled()

#: Files that must not decode, and what is said instead.
NOT_READ = {
    "JPEG-lossy.dcm": BadInputError, "MR_truncated.dcm": BadInputError,
    "JPEG2000-embedded-sequence-delimiter.dcm": UnsafeInputError, "badVR.dcm": BadInputError,
    "emri_small_jpeg_2k_lossless_too_short.dcm": BadInputError, "JPGExtended.dcm": BadInputError,
}  # fmt: skip


#: A hundred million samples: two frames are enough.
LARGE = {"color3d_jpeg_baseline.dcm"}


def ours(path: Path) -> np.ndarray:
    return read_pixels(Image(uri=str(path)))


def test_there_is_something_to_compare():
    assert len(FILES) > 100


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_values_are_pydicoms(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True)
        if "Rows" not in ds or path.name in NOT_READ:
            with pytest.raises(NOT_READ.get(path.name, BadInputError)):
                ours(path)
            return
        if path.name in LARGE:
            with path.open("rb") as stream:
                array = read_dicom(stream, path.name, Limits(), [0, 7])
            np.testing.assert_array_equal(array, np.stack([pixel_array(path, index=i) for i in (0, 7)]))
            return
        array = ours(path)
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            assert array.shape[-3:] == (ds.Rows, ds.Columns, 3)
            assert array.dtype == np.uint8
            return
        if any(e.keyword == "PixelValueTransformationSequence" for e in ds.iterall()):
            pytest.skip("its rescale is in functional groups, which pydicom leaves alone; SimpleITK is the reference")
        stored = pixel_array(ds)
        expected = apply_modality_lut(stored, ds) if ds.get("SamplesPerPixel", 1) == 1 else stored
    assert array.shape == expected.shape
    assert array.dtype.isnative
    np.testing.assert_allclose(array.astype(np.float64), expected.astype(np.float64), rtol=1e-6)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_grey_values_are_simpleitks(path: Path):
    sitk = pytest.importorskip("SimpleITK")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    if ds.get("SamplesPerPixel", 1) != 1 or ds.get("PhotometricInterpretation", "") not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        pytest.skip("not grey: GDCM and the reader keep colours differently")
    try:
        array = ours(path)
    except VesaliusError:
        pytest.skip("refused by name; the other test checks which")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError:
        pytest.skip("SimpleITK cannot read it")
    if theirs.size != array.size or theirs.ndim > 3:
        pytest.skip("SimpleITK gives another shape")
    if path.name == "rtdose_expb.dcm":
        # GDCM does not swap 32-bit big-endian values; the same dose in little endian is the reference.
        np.testing.assert_array_equal(array, ours(path.with_name("rtdose.dcm")))
        return
    if "ModalityLUTSequence" in ds:
        pytest.skip("GDCM does not apply modality tables; pydicom is the reference")
    if ds.PhotometricInterpretation == "MONOCHROME1":
        theirs = 2**ds.BitsStored - 1 - theirs.astype(np.int64)  # GDCM inverts, the reader does not
    if ds.get("BitsAllocated") == 1:
        theirs = (theirs > 0).astype(np.uint8)
    tolerance = 1 if "JPEG" in str(ds.file_meta.get("TransferSyntaxUID", "").name) else 0
    np.testing.assert_allclose(
        array.astype(np.float64), theirs.reshape(array.shape).astype(np.float64), rtol=1e-5, atol=tolerance
    )


def test_the_files_cover_the_forms():
    seen = collections.Counter()
    for path in FILES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        if "Rows" in ds:
            seen.update(
                [ds.PhotometricInterpretation, f"bits {ds.BitsAllocated}", f"planar {ds.get('PlanarConfiguration')}"]
            )
            seen.update([str(ds.file_meta.get("TransferSyntaxUID", "") and ds.file_meta.TransferSyntaxUID.name)])
    for form in ("PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "RGB", "bits 1", "bits 32", "planar 1", "RLE Lossless"):
        assert seen[form], f"no bundled file shows {form}"


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, np.int16), (1, 0, np.uint16), (2, 0, np.int32), (0.5, 0, np.float32), (1, 0.25, np.float32)],
)
def test_rescale_keeps_integers_where_it_can(slope, intercept, dtype):
    stored = np.array([[0, 1, 4095, 30000]], np.uint16)
    out = rescale(stored, slope, intercept, "x")
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.astype(float), stored.astype(float) * slope + intercept)


def test_rescale_does_not_wrap():
    stored = np.array([[0, 65535]], np.uint16)
    np.testing.assert_array_equal(rescale(stored, 1, -1024, "x"), [[-1024, 64511]])
    np.testing.assert_array_equal(rescale(np.array([[-32768, 32767]], np.int16), -1, 0, "x"), [[32768, -32767]])


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf"), 1e38])
def test_rescale_that_makes_no_sense_is_refused(slope):
    with pytest.raises(BadInputError, match="rescale"):
        rescale(np.array([[1, 60000]], np.uint16), slope, 0.0, "x")


def test_monochrome1_is_not_inverted_by_the_reader(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    ds = write.secondary_capture(array)
    ds.PhotometricInterpretation = "MONOCHROME1"
    (tmp_path / "m1.dcm").write_bytes(dicom_bytes(ds))
    np.testing.assert_array_equal(ours(tmp_path / "m1.dcm"), array)


def test_float_pixels(tmp_path):
    values = np.array([[0.5, -1e20], [3.25, 7.0]], np.float32)
    ds = write.secondary_capture(np.zeros((2, 2), np.uint16))
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del ds[keyword]
    ds.BitsAllocated = 32
    ds.FloatPixelData = values.tobytes()
    (tmp_path / "f.dcm").write_bytes(dicom_bytes(ds))
    np.testing.assert_array_equal(ours(tmp_path / "f.dcm"), values)


@pytest.mark.parametrize("compression", ["JPEG2000Lossless", "JPEGLSLossless", "RLELossless"])
def test_lossless_round_trip(tmp_path, compression):
    array = np.random.default_rng(0).integers(0, 4096, (33, 47)).astype(np.uint16)
    ds = write.secondary_capture(array)
    ds.compress(getattr(pydicom.uid, compression))
    (tmp_path / "c.dcm").write_bytes(dicom_bytes(ds))
    np.testing.assert_array_equal(ours(tmp_path / "c.dcm"), array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("selection_value", [1, 0])
def test_jpeg_lossless_round_trip(tmp_path, dtype, selection_value):
    low, high = (-1024, 3072) if dtype is np.int16 else (0, 256 if dtype is np.uint8 else 4096)
    array = np.random.default_rng(0).integers(low, high, (34, 47)).astype(dtype)
    ds = jpeg_lossless(write.secondary_capture(array), selection_value)
    assert "Lossless" in ds.file_meta.TransferSyntaxUID.name
    (tmp_path / "c.dcm").write_bytes(dicom_bytes(ds))
    np.testing.assert_array_equal(ours(tmp_path / "c.dcm"), array)


def test_jpeg_lossless_colour(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (16, 20, 3)).astype(np.uint8)
    (tmp_path / "c.dcm").write_bytes(dicom_bytes(jpeg_lossless(write.secondary_capture(array))))
    np.testing.assert_array_equal(ours(tmp_path / "c.dcm"), array)


#: SHA-256 of the little-endian pixels as imagecodecs' jpegsof3_decode gives them, which shares no code with GDCM.
JPEGSOF3 = {
    "JPEG-LL.dcm": "a6e9d32143339d3f5748b5520aa4e6c6ffb3550b6f71fdf17bdb2ebb44bc2611",
    "JPGLosslessP14SV1_1s_1f_8b.dcm": "36e27e4f1e87a7d50407463323ddc3736736ecff35eb4e4a4c1b74646938835d",
    "SC_rgb_jpeg_gdcm.dcm": "169e619557b12114a7f0be8602026e9abb3d5045804311736ec14cecb026aca9",
}


@pytest.mark.parametrize("name", JPEGSOF3)
def test_jpeg_lossless_of_others_is_what_another_decoder_gives(name):
    path = next((p for p in FILES if p.name == name), None)
    if path is None:
        pytest.skip(f"pydicom-data did not bring {name}")
    with path.open("rb") as stream, warnings.catch_warnings(action="ignore"):
        stored = read_dicom(stream, name, Limits())
    assert hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<")).tobytes()).hexdigest() == JPEGSOF3[name]


def test_one_decoder_for_each_compression_whatever_is_installed(monkeypatch):
    """Plug-ins that stand before ours in pydicom's own order must never be asked."""
    from pydicom.pixels.decoders import base

    path = next(p for p in FILES if p.name == "SC_rgb_jpeg.dcm")
    expected = ours(path)

    def wrong(*_):
        return bytes(expected.size)  # black; an error would only send pydicom on to the next plug-in

    decoder = base.get_decoder(pydicom.uid.JPEGBaseline8Bit)
    monkeypatch.setitem(decoder._available, "pylibjpeg", wrong)
    monkeypatch.setitem(decoder._available, "gdcm", wrong)
    np.testing.assert_array_equal(ours(path), expected)


def test_a_compression_that_is_not_read_says_what_to_do():
    path = next((p for p in FILES if p.name == "JPGExtended.dcm"), None)
    if path is None:
        pytest.skip("pydicom-data did not bring JPGExtended.dcm")
    with pytest.raises(BadInputError, match=r"12-bit JPEG extended.*[Cc]onvert"):
        ours(path)


@pytest.mark.parametrize(("fmt", "ext"), [("JPEG", "jpg"), ("JPEG2000", "jp2")])
def test_codestream_size_reads_what_pillow_writes(fmt, ext):
    import io

    from PIL import Image as Pil

    buffer = io.BytesIO()
    Pil.fromarray(np.zeros((37, 91, 3), np.uint8)).save(buffer, fmt)
    assert codestream_size(buffer.getvalue()) == (37, 91, 3)
    assert codestream_size(b"RLE or something else") is None


def test_the_pixel_budget_is_checked_before_decoding():
    path = next(p for p in FILES if p.name == "CT_small.dcm")
    with pytest.raises(UnsafeInputError, match="pixel budget"):
        read_pixels(Image(uri=str(path)), Limits(max_pixels=1000))
