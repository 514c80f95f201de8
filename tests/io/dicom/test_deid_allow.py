"""De-identification is an allow-list: every place where an element or a pixel word might pass unseen."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from tests.io.dicom_makers import bundled, dicom_bytes, jpeg_lossless
from vesalius.errors import BadInputError, VesaliusError
from vesalius.io import write
from vesalius.io.dicom import deid, deid_allow

KEY = b"a secret of more than sixteen bytes"
MARK = b"qx7 hidden-words"


def film(words=None, *, stored=16, signed=0, high=None, allocated=16, syntax=ExplicitVRLittleEndian) -> Dataset:
    words = np.arange(64).reshape(8, 8) if words is None else words
    ds = write.secondary_capture(np.zeros(words.shape, np.uint16), modality="CT", uid_seed="a")
    ds.BurnedInAnnotation = "NO"
    ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation = allocated, stored, signed
    ds.HighBit = stored - 1 if high is None else high
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = words.astype(f"{order}u{allocated // 8}").tobytes()
    ds["PixelData"] = DataElement(0x7FE00010, "OB" if allocated == 8 else "OW", data)
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def cleaned(ds: Dataset) -> Dataset:
    out = deid.deidentify(pydicom.dcmread(io.BytesIO(dicom_bytes(ds))), KEY)
    return pydicom.dcmread(io.BytesIO(dicom_bytes(out)))


def words_of(ds: Dataset) -> np.ndarray:
    order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    return np.frombuffer(ds.PixelData, f"{order}u{ds.BitsAllocated // 8}")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(
    ("allocated", "stored", "high"),
    [(16, 12, 11), (16, 10, 9), (16, 12, 15), (16, 15, 14), (8, 7, 6), (8, 6, 5), (32, 24, 23), (16, 1, 0)],
)
def test_bits_that_are_not_stored_values_are_zero(allocated, stored, high, signed, syntax):
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**allocated, (8, 8), dtype=np.uint64)
    before = film(words, stored=stored, high=high, allocated=allocated, signed=signed, syntax=syntax)
    after = cleaned(before)
    mask = ((1 << stored) - 1) << (high - stored + 1)
    np.testing.assert_array_equal(words_of(after), (words & mask).ravel())
    if high == stored - 1:
        np.testing.assert_array_equal(after.pixel_array, before.pixel_array)


def compressed(ds: Dataset, how: str) -> Dataset:
    if how == "jpeg lossless":
        return jpeg_lossless(ds)
    ds.compress({"rle": RLELossless, "jls": JPEGLSLossless, "j2k": JPEG2000Lossless}[how], generate_instance_uid=False)
    return ds


@pytest.mark.parametrize("how", ["rle", "jls", "j2k", "jpeg lossless"])
def test_hidden_bits_of_compressed_pixels_are_zero(how):
    words = np.random.default_rng(0).integers(0, 2**16, (64, 64))
    ds = compressed(film(words, stored=16), how)
    ds.BitsStored, ds.HighBit = 12, 11  # the stream carries sixteen bits, the header owns to twelve
    after = cleaned(ds)
    assert not after.file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(words_of(after), (words & 0xFFF).ravel())


@pytest.mark.parametrize("how", ["rle", "jls", "j2k", "jpeg lossless"])
@pytest.mark.parametrize("stored", [16, 12])
def test_compressed_values_stay_what_they_are(how, stored):
    words = np.random.default_rng(1).integers(0, 2**stored, (64, 64))
    after = cleaned(compressed(film(words, stored=stored), how))
    np.testing.assert_array_equal(after.pixel_array, words)


def jpeg_with_a_comment() -> Dataset:
    from PIL import Image as Pil

    stream = io.BytesIO()
    Pil.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(stream, "JPEG", comment=MARK)
    ds = film(np.zeros((16, 16), np.uint16))
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.SamplesPerPixel = 8, 8, 7, 3
    ds.PhotometricInterpretation, ds.PlanarConfiguration = "YBR_FULL_422", 0
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds["PixelData"] = DataElement(0x7FE00010, "OB", encapsulate([stream.getvalue() + MARK]), is_undefined_length=True)
    return ds


def test_what_a_compressed_stream_says_beside_its_pixels_goes():
    ds = jpeg_with_a_comment()
    assert dicom_bytes(ds).count(MARK) == 2
    after = cleaned(ds)
    assert MARK not in dicom_bytes(after)
    assert after.PhotometricInterpretation == "RGB"
    np.testing.assert_allclose(after.pixel_array, 90, atol=2)  # one step of JPEG's rounding and one of YCbCr's


def padded(n: int) -> Dataset:
    ds = film()
    ds.PixelData += MARK * n
    return ds


def frames_too_many() -> Dataset:
    ds = film()
    ds.NumberOfFrames = 2
    ds.PixelData += film().PixelData + MARK * 8
    return ds


def one_bit() -> Dataset:
    ds = film(np.zeros((3, 5), np.uint16))
    ds.BitsAllocated = ds.BitsStored = 1
    ds.HighBit = 0
    ds["PixelData"] = DataElement(0x7FE00010, "OB", b"\x55\xff")  # fifteen pixels and one spare bit
    return ds


def not_numbers() -> Dataset:
    ds = film(np.zeros((2, 2), np.uint16))
    ds.BitsAllocated = 32
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del ds[name]
    words = np.array([0x3F800000, 0x7FC51758, 0xFFC0BEEF, 0x7F800000], "<u4")
    ds["FloatPixelData"] = DataElement(0x7FE00008, "OF", words.tobytes())
    return ds


def palette() -> Dataset:
    ds = film(np.array([[1, 2], [2, 3]]), allocated=8, stored=8)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for name in ("Red", "Green", "Blue"):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        table = np.arange(256, dtype="<u2") + 0x4100
        setattr(ds, f"{name}PaletteColorLookupTableData", table.tobytes() + MARK)
    return ds


def test_bytes_past_the_pixels_go():
    for ds in (padded(1), padded(9), frames_too_many()):
        after = cleaned(ds)
        assert MARK not in dicom_bytes(after)
        np.testing.assert_array_equal(after.pixel_array.ravel(), [*range(64)] * int(ds.get("NumberOfFrames", 1)))
    assert cleaned(one_bit()).PixelData == b"\x55\x7f"
    floats = np.frombuffer(cleaned(not_numbers()).FloatPixelData, "<f4")
    np.testing.assert_array_equal(floats, np.array([1, np.nan, np.nan, np.inf], "f4"))
    assert len({w.tobytes() for w in floats[1:3]}) == 1
    after = cleaned(palette())
    table = np.frombuffer(after.RedPaletteColorLookupTableData, "<u2")
    np.testing.assert_array_equal(np.flatnonzero(table), [1, 2, 3])
    assert table[2] == 0x4102
    assert MARK not in dicom_bytes(after)


def item(**values) -> Sequence:
    inner = Dataset()
    for name, value in values.items():
        setattr(inner, name, value)
    return Sequence([inner])


TEXT = MARK.decode()
PICTURE = item(Rows=2, Columns=4, BitsAllocated=16, PixelRepresentation=0, PixelData=MARK)
PLACES = {
    "even group that nobody knows": lambda d: d.add_new((0x0018, 0x9FFE), "LO", TEXT),
    "the same as unknown bytes": lambda d: d.add_new((0x0018, 0x9FFE), "UN", MARK),
    "unknown group": lambda d: d.add_new((0x0066, 0x9FFE), "UT", TEXT),
    "private": lambda d: d.private_block(0x0029, TEXT, create=True).add_new(1, "UT", TEXT),
    "private without creator": lambda d: d.add_new((0x0029, 0x1001), "LO", TEXT),
    "overlay data": lambda d: d.add_new((0x6002, 0x3000), "OW", MARK),
    "overlay comment": lambda d: d.add_new((0x601E, 0x4000), "LT", TEXT),
    "curve": lambda d: d.add_new((0x5000, 0x3000), "OW", MARK),
    "variable pixels": lambda d: d.add_new((0x7F00, 0x0010), "OW", MARK),
    "known, of another VR": lambda d: d.add_new((0x0018, 0x0050), "LO", TEXT),
    "known, more values than it may have": lambda d: d.add_new((0x0008, 0x0070), "LO", ["ACME", TEXT]),
    "text in a number": lambda d: d.__setitem__(
        0x00180060, RawDataElement(Tag(0x00180060), "DS", len(MARK), MARK, 0, False, True)
    ),
    "text in a code": lambda d: d.add_new((0x0018, 0x5101), "CS", TEXT),
    "text after a date": lambda d: d.add_new((0x0008, 0x0020), "DA", "20230417 " + TEXT),
    "text after a date and time": lambda d: d.add_new((0x0008, 0x002A), "DT", "20230417101010 " + TEXT),
    "text in a time": lambda d: d.add_new((0x0008, 0x0030), "TM", "101010 " + TEXT),
    "free text of the standard": lambda d: d.add_new((0x0028, 0x1404), "ST", TEXT),
    "retired": lambda d: d.add_new((0x0008, 0x0041), "LT", TEXT),
    "padding": lambda d: d.add_new((0xFFFC, 0xFFFC), "OB", MARK),
    "icon": lambda d: d.add_new((0x0088, 0x0200), "SQ", PICTURE),
    "picture in a sequence": lambda d: d.add_new((0x0008, 0x2218), "SQ", PICTURE),
    "document in a sequence": lambda d: d.add_new((0x0008, 0x2218), "SQ", item(EncapsulatedDocument=MARK)),
    "name in a sequence": lambda d: d.add_new((0x0008, 0x2218), "SQ", item(PersonName=TEXT)),
    "colour profile": lambda d: d.add_new((0x0028, 0x2000), "OB", MARK),
    "table longer than it says": lambda d: d.add_new(
        (0x0028, 0x3010), "SQ", item(LUTDescriptor=[2, 0, 16], LUTData=b"\1\0\2\0" + MARK)
    ),
    "preamble": lambda d: setattr(d, "preamble", MARK.ljust(128)),
    "file meta": lambda d: d.file_meta.add_new((0x0002, 0x0013), "SH", TEXT),
    "file meta, private": lambda d: (
        d.file_meta.add_new((0x0002, 0x0100), "UI", "1.2.3"),
        d.file_meta.add_new((0x0002, 0x0102), "OB", MARK),
    ),
    "file meta, sender": lambda d: d.file_meta.add_new((0x0002, 0x0016), "AE", TEXT),
    "the patient's name in a maker's": lambda d: (
        setattr(d, "PatientName", "Qx7^Hidden-words"),
        setattr(d, "Manufacturer", "made for hidden-words"),
    ),
}


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_known_to_be_safe_does_not_leave(place, syntax):
    ds = film(syntax=syntax)
    PLACES[place](ds)
    raw = dicom_bytes(ds)
    assert b"hidden-words" in raw or "name in a maker" in place, "the scan below must be able to fail"
    out = dicom_bytes(cleaned(ds))
    assert b"hidden-words" not in out.lower()
    assert b"qx7" not in out.lower()


@pytest.mark.parametrize("name", ["RescaleSlope", "ImagePositionPatient", "BitsStored"])
def test_an_object_whose_pixels_would_mean_something_else_does_not_leave(name):
    ds = film()
    tag = pydicom.datadict.tag_for_keyword(name)
    ds.add_new(tag, "LO", TEXT)  # a reader may understand it; nobody can check it
    with pytest.raises(BadInputError, match=name):
        deid.deidentify(ds, KEY)


def test_what_readers_need_stays():
    ds = film(stored=12)
    ds.Manufacturer, ds.ConvolutionKernel, ds.KVP, ds.RescaleSlope, ds.RescaleIntercept = "ACME", "B30f", 120, 1, -1024
    ds.WindowCenter, ds.WindowWidth, ds.BodyPartExamined, ds.SliceThickness = 40, 400, "CHEST", 2.5
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [1, 2, 3], [1, 0, 0, 0, 1, 0], [0.5, 0.7]
    ds.SpecificCharacterSet, ds.ImageType = "ISO_IR 192", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AnatomicRegionSequence = item(CodeValue="51185008", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    ds.VOILUTSequence = item(LUTDescriptor=[4, 0, 16], LUTData=b"\0\0\1\0\2\0\3\0")
    after = cleaned(ds)
    for name in (
        "Manufacturer", "ConvolutionKernel", "KVP", "RescaleIntercept", "WindowCenter", "BodyPartExamined", "ImageType",
        "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpecificCharacterSet",
        "AnatomicRegionSequence", "VOILUTSequence", "Modality", "SOPClassUID", "BitsStored", "BurnedInAnnotation",
    ):  # fmt: skip
        assert after.get(name) == ds.get(name), name


VALUES = {
    "US": 7, "SS": -7, "UL": 7, "SL": -7, "UV": 7, "SV": -7, "FL": 0.5, "FD": 0.5, "AT": 0x00100010, "UI": "1.2.3.4",
    "DS": "1.5", "IS": "3",
}  # fmt: skip
EVERY = sorted(
    t for t, (vr, *_) in DicomDictionary.items() if t >> 16 not in (0, 2) and vr != "NONE" and t < 0x7FE00000
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(tags=st.lists(st.sampled_from(EVERY), min_size=5, max_size=60, unique=True), deep=st.integers(0, 3))
def test_no_attribute_of_the_standard_lets_text_through(tags, deep):
    """Any attributes at any depth, each holding a text that repeats the patient's name."""
    ds = film()
    where = ds
    for _ in range(deep):
        inner = Dataset()
        where.add_new(0x00081115, "SQ", Sequence([inner]))  # Referenced Series Sequence
        where = inner
    with pydicom.config.disable_value_validation():
        for tag in tags:
            vr = DicomDictionary[tag][0].split(" or ")[0]
            if tag in (0x00280002, 0x00280008, 0x00280010, 0x00280011) or tag >> 8 == 0x002801 or tag in where:
                continue
            value = MARK if vr.startswith(("O", "UN")) else VALUES.get(vr, TEXT)
            where.add_new(tag, vr, item(PatientComments=TEXT) if vr == "SQ" else value)
        ds.PatientName = "Qx7^Hidden-words"
        try:
            out = deid.deidentify(ds, KEY, burned_in="keep")
        except BadInputError:
            return  # a document, a class that is not the standard's
        raw = dicom_bytes(out).lower()
        assert b"hidden-words" not in raw
        again = dicom_bytes(deid.deidentify(out, KEY, burned_in="keep"))
        assert again == dicom_bytes(out)


def test_the_lists_name_real_attributes_that_the_table_leaves_alone():
    known = {entry[4]: tag for tag, entry in DicomDictionary.items()}
    for name in deid_allow.TEXT | deid_allow.TABLES:
        assert name in known, name
        assert known[name] not in deid.profile(), name


@pytest.mark.parametrize("path", bundled(), ids=lambda p: p.name)
def test_pixels_of_real_files_stay_what_they_are(path, tmp_path):
    try:
        out = deid.deidentify_file(path, tmp_path, KEY, burned_in="keep")
    except VesaliusError:
        return
    from vesalius.io.dicom.pixels import read_dicom
    from vesalius.io.limits import DEFAULT

    try:
        with path.open("rb") as stream:
            before = read_dicom(stream, "before", DEFAULT)
    except VesaliusError:
        return
    with out.open("rb") as stream:
        after = read_dicom(stream, "after", DEFAULT)
    np.testing.assert_array_equal(after, before)
    assert after.dtype == before.dtype
    ds = pydicom.dcmread(out)
    stored = int(ds.get("BitsStored", 0))
    if "PixelData" in ds and 1 < stored < ds.BitsAllocated:
        assert not (words_of(ds) >> stored).any()
