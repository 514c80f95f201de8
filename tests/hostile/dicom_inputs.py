"""DICOM files that no scanner should write, made byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from tests.io.dicom_makers import jpeg_lossless
from vesalius.io import write

EXPLICIT = "1.2.840.10008.1.2.1"
REFUSED, READ, EITHER = "refused", "read", "either"
#: name -> (bytes, what must come of it, words of the message)
INPUTS: dict[str, tuple[Callable[[], bytes], str, str]] = {}


def case(name: str, ends: str = REFUSED, says: str = ""):
    def keep(make: Callable[[], bytes]) -> Callable[[], bytes]:
        INPUTS[name] = (make, ends, says)
        return make

    return keep


def plain(**changes: object) -> Dataset:
    """A small good CT slice."""
    ds = write.secondary_capture(np.arange(16 * 12, dtype=np.uint16).reshape(16, 12), modality="CT", uid_seed="hostile")
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def saved(ds: Dataset, *, implicit: bool = False) -> bytes:
    buffer = io.BytesIO()
    with pydicom.config.disable_value_validation():
        if implicit:
            ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    n = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD"):
        return head + struct.pack("<HI", 0, n) + value
    return head + struct.pack("<H", n & 0xFFFF) + value


def raw(body: bytes, syntax: str = EXPLICIT, extra_meta: bytes = b"") -> bytes:
    """A file of our own elements, with a correct file meta group."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    group = element(0x00020001, b"OB", b"\0\1") + element(0x00020010, b"UI", uid) + extra_meta
    return b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(group))) + group + body


def before_pixels() -> bytes:
    """The elements of the good slice up to its pixels."""
    data = saved(plain())
    at = data.index(element(0x00080016, b"UI", b"")[:6])
    return data[at : data.index(b"\xe0\x7f\x10\x00")]


def with_elements(extra: bytes) -> bytes:
    """The good slice with elements put in front of its pixels."""
    body = before_pixels()
    pixels = saved(plain())
    return raw(body + extra + pixels[pixels.index(b"\xe0\x7f\x10\x00") :])


@case("01 zero bytes", says="empty")
def _() -> bytes:
    return b""


@case("02 preamble only", says="preamble")
def _() -> bytes:
    return b"\0" * 128


@case("02 preamble and magic only")
def _() -> bytes:
    return b"\0" * 128 + b"DICM"


@case("03 no preamble, no meta, implicit", READ)
def _() -> bytes:
    data = saved(plain(), implicit=True)
    return data[data.index(struct.pack("<HH", 0x0008, 0x0016)) :]


@case("03 no preamble, no meta, explicit", READ)
def _() -> bytes:
    data = saved(plain())
    return data[data.index(element(0x00080016, b"UI", b"")[:6]) :]


@case("05 undefined length of a text", EITHER)
def _() -> bytes:
    return with_elements(element(0x00400275, b"UN", b"text without an end", 0xFFFFFFFF))


@case("06 length beyond the file", REFUSED)
def _() -> bytes:
    return with_elements(element(0x00400275, b"UT", b"short", 0x7FFFFFFF))


@case("06 pixel length beyond the file", REFUSED, "cut off")
def _() -> bytes:
    return raw(before_pixels() + element(0x7FE00010, b"OW", b"\0" * 100, 0x7FFFFFFE))


@case("07 sequences nested ten thousand deep", EITHER)
def _() -> bytes:
    deep = b""
    opening = element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    deep = opening * 10_000
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return raw(deep + closing * 10_000 + before_pixels() + saved(plain())[-400:])


@case("07 nested deep in a sequence that is read", EITHER)
def _() -> bytes:
    opening = element(0x52009229, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return raw(before_pixels() + opening * 10_000)


@case("08 sequence never closed")
def _() -> bytes:
    return with_elements(element(0x00081140, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF))


@case("09 a million elements", EITHER)
def _() -> bytes:
    head = struct.pack("<HH", 0x0009, 0x1001) + b"SH" + struct.pack("<H", 0)
    return raw(head * 1_000_000 + before_pixels() + element(0x7FE00010, b"OW", b"\0" * 384))


@case("10 tags twice", READ)
def _() -> bytes:
    return with_elements(element(0x00280010, b"US", struct.pack("<H", 16)) * 3)


@case("10 tags twice, and they differ", EITHER)
def _() -> bytes:
    return with_elements(element(0x00280010, b"US", struct.pack("<H", 4000)))


@case("11 odd VR in the file meta", EITHER)
def _() -> bytes:
    return raw(
        before_pixels() + element(0x7FE00010, b"OW", b"\0" * 384), extra_meta=element(0x00020102, b"ZZ", b"\xff" * 8)
    )


@case("11 huge length in the file meta", REFUSED)
def _() -> bytes:
    return raw(before_pixels(), extra_meta=element(0x00020102, b"OB", b"\xff" * 8, 0xFFFFFFF0))


@case("12 Rows as a long", EITHER)
def _() -> bytes:
    body = before_pixels().replace(
        element(0x00280010, b"US", struct.pack("<H", 16)), element(0x00280010, b"UL", struct.pack("<I", 16))
    )
    return raw(body + element(0x7FE00010, b"OW", b"\0" * 384))


@case("13 no rows", REFUSED, "empty")
def _() -> bytes:
    return saved(plain(Rows=0))


@case("13 more pixels than atoms", REFUSED, "budget")
def _() -> bytes:
    return saved(plain(Rows=65535, Columns=65535, NumberOfFrames=1_000_000))


@case("13 negative frames")
def _() -> bytes:
    return saved(plain(NumberOfFrames=-5))


@case("14 more bits stored than allocated", REFUSED, "BitsStored")
def _() -> bytes:
    return saved(plain(BitsStored=20))


@case("14 one bit", READ)
def _() -> bytes:
    ds = plain(BitsAllocated=1, BitsStored=1, HighBit=0, PixelRepresentation=0)
    ds.PixelData = np.packbits(np.arange(192) % 3 == 0, bitorder="little").tobytes()
    return saved(ds)


@case("14 twelve bits packed", REFUSED, "BitsAllocated is 12")
def _() -> bytes:
    ds = plain(BitsAllocated=12, BitsStored=12, HighBit=11)
    ds.PixelData = b"\0" * 288
    return saved(ds)


@case("14 thirty-two bits", READ)
def _() -> bytes:
    ds = plain(BitsAllocated=32, BitsStored=32, HighBit=31)
    ds.PixelData = np.arange(192, dtype="<u4").tobytes()
    return saved(ds)


@case("14 float pixels with no number in them", READ)
def _() -> bytes:
    ds = plain(BitsAllocated=32)
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del ds[keyword]
    ds.FloatPixelData = np.full(192, np.nan, "<f4").tobytes()
    return saved(ds)


@case("14 double pixels", READ)
def _() -> bytes:
    ds = plain(BitsAllocated=64)
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        del ds[keyword]
    ds.DoubleFloatPixelData = np.linspace(-1e300, 1e300, 192).astype("<f8").tobytes()
    return saved(ds)


@case("15 wrong sign", READ)
def _() -> bytes:
    return saved(plain(PixelRepresentation=1, RescaleIntercept=-1024, RescaleSlope=1))


@case("16 MONOCHROME1", READ)
def _() -> bytes:
    return saved(plain(PhotometricInterpretation="MONOCHROME1"))


@case("16 palette index out of range", READ)
def _() -> bytes:
    ds = plain(PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.arange(4, dtype="<u2").tobytes())
    return saved(ds)


@case("16 palette shorter than it says")
def _() -> bytes:
    ds = plain(PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [0, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", b"\0\1")
    return saved(ds)


def colour(photometric: str, planar: int = 0) -> Dataset:
    ds = write.secondary_capture(np.random.default_rng(0).integers(0, 255, (16, 12, 3), np.uint8), uid_seed="colour")
    ds.PhotometricInterpretation, ds.PlanarConfiguration = photometric, planar
    return ds


@case("16 YBR_FULL_422", READ)
def _() -> bytes:
    ds = colour("YBR_FULL_422")
    ds.PixelData = ds.PixelData[: 16 * 12 * 2]
    return saved(ds)


@case("16 planar colours", READ)
def _() -> bytes:
    return saved(colour("RGB", 1))


@case("16 a broken colour profile", READ)
def _() -> bytes:
    ds = colour("RGB")
    ds.ICCProfile = b"\xff" * 64
    return saved(ds)


@case("16 a photometric interpretation that is none", EITHER)
def _() -> bytes:
    return saved(plain(PhotometricInterpretation="MONOCHROME9"))


for _slope, _ends in (("0", REFUSED), ("NaN", REFUSED), ("1e30", EITHER), ("1e300", REFUSED)):
    INPUTS[f"17 slope {_slope}"] = (
        lambda slope=_slope: with_elements(
            element(0x00281052, b"DS", b"0 ") + element(0x00281053, b"DS", (slope + " " * (len(slope) % 2)).encode())
        ),
        _ends,
        "",
    )


@case("17 slope missing", READ)
def _() -> bytes:
    return saved(plain(RescaleIntercept=-1024))


for _name, _centre, _width in (
    ("zero width", 40, 0),
    ("negative width", 40, -5),
    ("many windows", [40, 600], [80, 1500]),
    ("more centres", [1, 2], 3),
):
    INPUTS[f"18 {_name}"] = (lambda c=_centre, w=_width: saved(plain(WindowCenter=c, WindowWidth=w)), READ, "")


@case("18 sigmoid", READ)
def _() -> bytes:
    return saved(plain(WindowCenter=40, WindowWidth=1e-9, VOILUTFunction="SIGMOID"))


@case("18 window table", READ)
def _() -> bytes:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [16, 0, 16], list(range(16))
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    return saved(plain(VOILUTSequence=Sequence([table])))


@case("18 window table that lies about its size", READ)
def _() -> bytes:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [60000, 0, 16], list(range(16))
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    return saved(plain(VOILUTSequence=Sequence([table])))


def compressed(syntax: str) -> Dataset:
    # JPEG 2000 with its usual five levels needs 32 pixels a side.
    array = np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)
    ds = write.secondary_capture(array, modality="CT", uid_seed="hostile")
    if syntax == "JPEGLosslessSV1":
        return jpeg_lossless(ds)
    ds.compress(getattr(pydicom.uid, syntax))
    return ds


SYNTAXES = ("JPEG2000Lossless", "JPEGLSLossless", "RLELossless", "JPEGLosslessSV1")
for _syntax in SYNTAXES:

    def _corrupt_offsets(syntax: str = _syntax) -> bytes:
        ds = compressed(syntax)
        data = bytearray(ds.PixelData)
        # An offset table of one wrong entry instead of an empty one.
        ds.PixelData = bytes(data[:4]) + struct.pack("<I", 4) + b"\xff\xff\xff\x7f" + bytes(data[8 + data[4] :])
        return saved(ds)

    def _no_end(syntax: str = _syntax) -> bytes:
        data = saved(compressed(syntax))
        return data[:-60]

    def _frames(syntax: str = _syntax) -> bytes:
        ds = compressed(syntax)
        ds.NumberOfFrames = 7
        return saved(ds)

    def _noise(syntax: str = _syntax) -> bytes:
        ds = compressed(syntax)
        data = bytearray(ds.PixelData)
        for at in range(len(data) // 2, len(data) - 8, 3):
            data[at] ^= 0x5A
        ds.PixelData = bytes(data)
        return saved(ds)

    def _nonsense(syntax: str = _syntax) -> bytes:
        ds = compressed(syntax)
        ds.PixelData = encapsulate([b"\xff\xd8" + b"not a picture at all " * 9])
        return saved(ds)

    INPUTS[f"19 {_syntax} offset table"] = (_corrupt_offsets, EITHER, "")
    INPUTS[f"19 {_syntax} cut off"] = (_no_end, REFUSED, "cut off")
    INPUTS[f"19 {_syntax} wrong frame count"] = (_frames, REFUSED, "")
    INPUTS[f"19 {_syntax} noise"] = (_noise, EITHER, "")
    INPUTS[f"19 {_syntax} nonsense"] = (_nonsense, REFUSED, "")


@case("19 a code stream larger than the header says", REFUSED)
def _() -> bytes:
    ds = compressed("JPEG2000Lossless")
    data = bytearray(ds.PixelData)
    at = data.index(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = struct.pack(">II", 60000, 60000)
    ds.PixelData = bytes(data)
    return saved(ds)


@case("20 deflate bomb", REFUSED, "unpack")
def _() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = packer.compress(before_pixels() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 2**28))
    for _n in range(256):
        body += packer.compress(b"\0" * 2**20)
    return raw(body + packer.flush(), "1.2.840.10008.1.2.1.99")


@case("20 deflated and good", READ)
def _() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    pixels = element(0x7FE00010, b"OW", b"\1\0" * 192)
    return raw(packer.compress(before_pixels() + pixels) + packer.flush(), "1.2.840.10008.1.2.1.99")


@case("20 deflated and cut off")
def _() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    whole = packer.compress(before_pixels() + element(0x7FE00010, b"OW", bytes(range(192)) * 2)) + packer.flush()
    return raw(whole[: len(whole) // 2], "1.2.840.10008.1.2.1.99")


for _name, _uid in (
    ("a slash", "../../etc/passwd"),
    ("two hundred characters", "1." * 99 + "1"),
    ("a zero byte", "1.2\0.3"),
    ("nothing", ""),
):
    INPUTS[f"22 UID with {_name}"] = (
        lambda uid=_uid: saved(plain(SOPInstanceUID=uid, SeriesInstanceUID=uid, StudyInstanceUID=uid)),
        READ,
        "",
    )

for _name, _charset, _text in (
    ("ISO 2022", ["", "ISO 2022 IR 87"], "Yamada^Tarou=\x1b$B;3ED\x1b(B"), ("GB18030", "GB18030", "Wang^XiaoDong=王"),
    ("a wrong one", "NO SUCH SET", "Someone"),
):  # fmt: skip

    def _charset_file(charset: object = _charset, text: str = _text) -> bytes:
        ds = plain(PatientID="x")
        body = saved(ds)
        at = body.index(element(0x00080016, b"UI", b"")[:6])
        names = "\\".join(charset) if isinstance(charset, list) else str(charset)
        names += " " * (len(names) % 2)
        value = text.encode("gb18030" if "GB" in names else "latin-1", "replace")
        value += b" " * (len(value) % 2)
        rest = body[at:].replace(element(0x00100010, b"PN", b""), element(0x00100010, b"PN", value))
        return raw(element(0x00080005, b"CS", names.encode()) + rest)

    INPUTS[f"23 charset {_name}"] = (_charset_file, READ, "")


@case("24 script and formula in a name", READ)
def _() -> bytes:
    return saved(plain(PatientName="<script>alert(1)</script>^=cmd|' /C calc'!A0", InstitutionName="=HYPERLINK(1)"))


@case("25 private sequence with a name", READ)
def _() -> bytes:
    ds = plain()
    inner = Dataset()
    inner.PatientName = "SECRET^NAME"
    ds.private_block(0x0029, "ACME", create=True).add_new(1, "SQ", Sequence([inner]))
    return saved(ds)


@case("26 encapsulated pixels inside a sequence", EITHER)
def _() -> bytes:
    inner = Dataset()
    icon = compressed("JPEG2000Lossless")
    inner.PixelData = icon.PixelData
    inner["PixelData"].VR = "OB"
    inner["PixelData"].is_undefined_length = True
    inner.Rows, inner.Columns = 48, 40
    ds = compressed("JPEG2000Lossless")
    ds.IconImageSequence = Sequence([inner])
    return saved(ds)


for _date in ("00000000", "99999999", "2023-13-45", "yesterday"):
    INPUTS[f"29 date {_date}"] = (
        lambda date=_date: saved(plain(StudyDate=date, SeriesDate="", PatientBirthDate=date)), READ, "",
    )  # fmt: skip
