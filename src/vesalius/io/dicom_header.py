"""The header of one DICOM file as plain data: what grouping, sorting and describing need, and no pixel."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from vesalius.errors import BadInputError
from vesalius.io.blob import inflate, read_all, size_of
from vesalius.io.limits import Limits, check_pixels
from vesalius.io.wire import as_error

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

#: PS3.5 9.1: at most 64 characters, digits in groups divided by dots.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_EXPLICIT = "1.2.840.10008.1.2.1"
#: Enough for any file meta group that is meant well.
_META_BYTES = 4096
#: A palette or window table with more entries is not kept with the header.
_MAX_LUT = 4096

_TAGS = [
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentTime",
    "AcquisitionTime",
    "Modality",
    "Manufacturer",
    "InstitutionName",
    "ManufacturerModelName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "BodyPartExamined",
    "ViewPosition",
    "ViewCodeSequence",
    "Laterality",
    "ImageLaterality",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoNumbers",
    "TriggerTime",
    "CineRate",
    "FrameTime",
    "ImagerPixelSpacing",
    "GantryDetectorTilt",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "DiffusionBValue",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "BurnedInAnnotation",
    "WindowCenter",
    "WindowWidth",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "VOILUTFunction",
    "VOILUTSequence",
    "GridFrameOffsetVector",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "Units",
    "DimensionOrganizationType",
    "TotalPixelMatrixColumns",
    "PatientOrientation",
]

#: Those of them that are unsigned binary numbers.
_BINARY = frozenset(
    [
        "SamplesPerPixel",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "TotalPixelMatrixColumns",
    ]
)


@dataclass(frozen=True, slots=True)
class Header:
    """One file's header. Identifiers in it stay in memory: what leaves is made by `series.cases`."""

    item: str
    path: str
    member: str
    sop: str
    series: str
    study: str
    frame_of_reference: str
    patient: str
    sop_class: str
    modality: str
    image_type: tuple[str, ...]
    photometric: str
    rows: int
    columns: int
    frames: int
    samples: int
    bits: int
    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    spacing_at: str
    thickness: float | None
    spacing_between: float | None
    instance: int | None
    #: What may tell volumes of one series apart, by name: temporal position, echo, b-value, ...
    phases: tuple[tuple[str, float], ...]
    #: For each frame of an enhanced object: position, orientation, phase; empty otherwise.
    frame_positions: tuple[tuple[float, ...], ...]
    frame_orientations: tuple[tuple[float, ...], ...]
    frame_phases: tuple[tuple[float, ...], ...]
    #: Facts for the case: age, sex, site, device, laterality.
    attributes: tuple[tuple[str, str | float], ...]
    date: str
    view: str
    body_part: str
    #: Plain data for `Image.meta`.
    meta: dict[str, Any]
    faults: tuple[str, ...]
    multi: bool


@functools.cache
def _tags() -> dict[str, BaseTag]:
    """Keyword to tag; looking one up in the dictionary for every value of every file adds up."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return {keyword: Tag(tag) for keyword in _TAGS if (tag := tag_for_keyword(keyword)) is not None}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from printing tag values (a name may be among them) and from checking values we check ourselves."""
    from pydicom import config

    if logging.root.manager.disable >= logging.CRITICAL:  # in a decoding process, which says nothing anyway
        config.settings.reading_validation_mode = config.IGNORE
        yield
        return
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        logger.setLevel(level)


def load(
    stream: BinaryIO, item: str, limits: Limits, *, pixels: bool, tags: list[str] | None = None
) -> tuple[Dataset, BinaryIO]:
    """Parse a DICOM stream; a deflated one is inflated within the budget first.

    Args:
        stream: Seekable.
        item: Name for messages.
        limits: Budgets.
        pixels: Read the pixel data too.
        tags: Read these keywords only.

    Returns:
        The data set, and the stream it came from (another one when it was deflated), which stands where the pixels
        start when `pixels` is False.

    Raises:
        BadInputError: It cannot be parsed.
        UnsafeInputError: A deflate bomb, or nested too deeply.
    """
    from pydicom import dcmread

    try:
        stream.seek(0)
        head = stream.read(_META_BYTES)
        stream.seek(0)
        if head[128:132] == b"DICM" and _meta_end(head)[1] == _DEFLATED:
            stream = _inflated(stream, item, limits)
        found: Dataset = dcmread(
            stream, stop_before_pixels=not pixels, force=True, specific_tags=None if tags is None else list(tags)
        )
    except Exception as error:
        raise as_error(error, item, "cannot read DICOM") from error
    return found, stream


def _meta_end(head: bytes) -> tuple[int, str, int]:
    """Where the file meta group ends, its transfer syntax, and where that UID's bytes are (PS3.10 7.1: explicit VR)."""
    at, syntax, where = 132, "", 0
    while head[at : at + 2] == b"\x02\x00" and len(head) >= at + 12:
        long = head[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR")
        length = int.from_bytes(head[at + 8 : at + 12] if long else head[at + 6 : at + 8], "little")
        value = at + (12 if long else 8)
        if head[at + 2 : at + 4] == b"\x10\x00":
            syntax, where = head[value : value + length].rstrip(b"\0 ").decode("ascii", "replace"), value
        at = value + length
    return at, syntax, where


def _inflated(stream: BinaryIO, item: str, limits: Limits) -> BinaryIO:
    """The same file with its data set unpacked and its transfer syntax set to say so."""
    raw = read_all(stream, limits, item)
    start, syntax, where = _meta_end(raw)
    # A UID may be padded with zero bytes; keeping its length keeps every other byte of the group in place.
    meta = (
        raw[:where]
        + _EXPLICIT.encode().ljust(len(syntax) + len(syntax) % 2, b"\0")
        + raw[where + len(syntax) + len(syntax) % 2 :]
    )
    return io.BytesIO(meta[:start] + inflate(raw[start:], limits, item, wbits=-15))


def read_header(stream: BinaryIO, item: str, limits: Limits, *, path: str = "", member: str = "") -> Header:
    """Read one header and check it against the budgets.

    Raises:
        BadInputError: Not DICOM, holds no image, or its header makes no sense.
        UnsafeInputError: Over the pixel budget.
    """
    with quiet():
        ds, stream = load(stream, item, limits, pixels=False, tags=list(_tags().values()))
        return _header(ds, stream, item, limits, path, member)


def _header(ds: Dataset, stream: BinaryIO, item: str, limits: Limits, path: str, member: str) -> Header:
    if len(ds) == 0:
        raise BadInputError("cannot read DICOM", item=item, why="it holds no data element")
    get = _Getter(ds)
    modality = get.code("Modality")
    rows, columns = get.integer("Rows"), get.integer("Columns")
    if rows is None or columns is None:
        kind = f"it is {modality} without pixels" if modality else "it says no Rows and Columns"
        raise BadInputError("DICOM object holds no image", item=item, why=kind)
    if modality == "SEG" or get.integer("TotalPixelMatrixColumns"):
        what = "a segmentation" if modality == "SEG" else "a tiled whole-slide image"
        raise BadInputError("DICOM object is not read as an image", item=item, why=f"it is {what}")
    frames, samples = get.integer("NumberOfFrames"), get.integer("SamplesPerPixel") or 1
    frames = 1 if frames is None else frames
    bits = get.integer("BitsAllocated") or 8
    check_pixels((frames, rows, columns, samples), max(1.0, bits / 8), limits, item)
    _check_native_length(ds, stream, item, rows * columns * frames * samples * bits)
    faults: list[str] = []
    per_frame = _frames(ds, frames)
    shared = _groups(ds, "SharedFunctionalGroupsSequence")
    sop = _uid(get.text("SOPInstanceUID"))
    if not sop:
        faults.append("SOP Instance UID is missing or not valid")
    spacing, at = get.floats("PixelSpacing", 2), "patient"
    if spacing is None and shared is not None:
        spacing = _nested(shared, "PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing is None and (spacing := get.floats("ImagerPixelSpacing", 2)) is not None:
        at = "detector"
    if spacing is not None and not all(s > 0 for s in spacing):
        faults.append("pixel spacing is not positive")
        spacing = None
    orientation = get.floats("ImageOrientationPatient", 6)
    if orientation is None and shared is not None:
        orientation = _nested(shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if orientation is not None and not _orthonormal(orientation):
        faults.append("image orientation is not two perpendicular unit vectors")
        orientation = None
    thickness = get.number("SliceThickness")
    between = get.number("SpacingBetweenSlices")
    if shared is not None:
        thickness = thickness or _first(_nested(shared, "PixelMeasuresSequence", "SliceThickness", 1))
        between = between or _first(_nested(shared, "PixelMeasuresSequence", "SpacingBetweenSlices", 1))
    return Header(
        item=item,
        path=path,
        member=member,
        sop=sop,
        series=_uid(get.text("SeriesInstanceUID")),
        study=_uid(get.text("StudyInstanceUID")),
        frame_of_reference=_uid(get.text("FrameOfReferenceUID")),
        patient="\0".join(p for p in (get.text("PatientID"), get.text("IssuerOfPatientID")) if p),
        sop_class=_uid(get.text("SOPClassUID")),
        modality=modality,
        image_type=tuple(t.upper() for t in get.texts("ImageType")),
        photometric=get.code("PhotometricInterpretation"),
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        bits=bits,
        orientation=orientation,
        position=get.floats("ImagePositionPatient", 3),
        pixel_spacing=spacing,
        spacing_at=at,
        thickness=thickness,
        spacing_between=between,
        instance=get.integer("InstanceNumber"),
        phases=_phases(get),
        frame_positions=per_frame[0],
        frame_orientations=per_frame[1],
        frame_phases=per_frame[2],
        attributes=_attributes(get),
        date=_date(get),
        view=_view(get),
        body_part=get.text("BodyPartExamined").lower(),
        meta=_meta(ds, get, shared),
        faults=tuple(faults),
        multi=frames > 1 or bool(per_frame[0]),
    )


class _Getter:
    """Values by keyword, None or empty where a value is missing or cannot be understood.

    Reads the raw bytes of an element where it can: the parser's own conversion of values costs more than all else.
    """

    def __init__(self, ds: Dataset) -> None:
        self._ds = ds

    def raw(self, keyword: str) -> Any:
        try:
            element = self._ds.get_item(_tags()[keyword])
            if element is None:
                return None
            value = element.value
            if not isinstance(value, bytes) or not getattr(element, "is_raw", False):
                return self._ds.get(keyword)
            if keyword in _BINARY:
                order: Literal["little", "big"] = "little" if element.is_little_endian else "big"
                return int.from_bytes(value, order) if 0 < len(value) <= 4 else None
            parts = [p.strip(" \0") for p in value.decode("latin-1").split("\\")]
            return parts[0] if len(parts) == 1 else parts
        except Exception:  # a broken value is a missing value; what pydicom raises over one has no common class
            return None

    def texts(self, keyword: str) -> list[str]:
        value = self.raw(keyword)
        if value is None:
            return []
        values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
        return [_clean(str(v)) for v in values]

    def text(self, keyword: str) -> str:
        return next(iter(self.texts(keyword)), "")

    def code(self, keyword: str) -> str:
        """A code string (VR CS): capitals, digits, space, underscore, at most 16 characters; else empty."""
        text = self.text(keyword).upper()
        return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""

    def floats(self, keyword: str, n: int) -> tuple[float, ...] | None:
        return _numbers(self.raw(keyword), n)

    def number(self, keyword: str) -> float | None:
        found = _numbers(self.raw(keyword), None)
        return found[0] if found else None

    def integer(self, keyword: str) -> int | None:
        found = self.number(keyword)
        return None if found is None else int(found)


def _numbers(value: Any, n: int | None) -> tuple[float, ...] | None:
    """A tuple of finite numbers, of length `n` where it is given; None for anything else."""
    if value is None or value == "":
        return None
    many = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    try:
        out = tuple(float(v) for v in (value if many else [value]))
    except (TypeError, ValueError, OverflowError):
        return None
    return out if out and (n is None or len(out) == n) and all(math.isfinite(v) for v in out) else None


def _first(values: tuple[float, ...] | None) -> float | None:
    return values[0] if values else None


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:256]


def _uid(text: str) -> str:
    return text if len(text) <= 64 and _UID.fullmatch(text) else ""


def _orthonormal(o: tuple[float, ...]) -> bool:
    r, c = o[:3], o[3:]
    lengths = math.hypot(*r), math.hypot(*c)
    return all(abs(n - 1) < 0.01 for n in lengths) and abs(sum(a * b for a, b in zip(r, c, strict=True))) < 0.01


def _check_native_length(ds: Dataset, stream: BinaryIO, item: str, bits: int) -> None:
    """Where pixels are not compressed, the file must hold as many as the header says; costs twelve bytes to know.

    The stream stands at the pixel element, because the parser stopped there.
    """
    syntax = str(getattr(ds, "file_meta", {}).get("TransferSyntaxUID", ""))
    implicit = syntax in ("", "1.2.840.10008.1.2")
    if not implicit and syntax != _EXPLICIT:
        return
    at = stream.tell()
    head = stream.read(12)
    if len(head) < 12 or head[:2] != b"\xe0\x7f":
        # Float and double pixels (7FE0,0008 and 0009) begin with E0 7F too; nothing at all means no pixels.
        raise BadInputError(
            "DICOM object holds no image", item=item, why="there is no pixel data (is the file cut off?)"
        )
    if implicit and head[4:6] in (b"OB", b"OW"):
        implicit = False
    length = int.from_bytes(head[4:8] if implicit else head[8:12], "little")
    left = size_of(stream) - at - (8 if implicit else 12)
    stream.seek(at)
    if length == 0xFFFFFFFF:
        return
    if length > left + 1:
        raise BadInputError("DICOM file is cut off", item=item, why=f"it says {length} bytes of pixels and has {left}")
    if head[2:4] == b"\x10\x00" and length * 8 < bits * 2 // 3:  # YBR_FULL_422 stores two thirds
        raise BadInputError(
            "DICOM file is cut off",
            item=item,
            why=f"its header asks for {bits // 8} bytes of pixels and it has {length}",
        )


def _groups(ds: Dataset, keyword: str) -> Any:
    try:
        sequence = ds.get(keyword)
        return sequence[0] if sequence else None
    except Exception:  # a broken sequence is a missing one
        return None


def _nested(group: Any, sequence: str, keyword: str, n: int) -> tuple[float, ...] | None:
    try:
        inner = group.get(sequence)
        return _numbers(inner[0].get(keyword), n) if inner else None
    except Exception:  # as above
        return None


def _frames(
    ds: Dataset, frames: int
) -> tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]:
    """Position, orientation and phase of each frame of an enhanced object; empty tuples where one lacks them."""
    try:
        groups = ds.get("PerFrameFunctionalGroupsSequence")
    except Exception:  # as above
        groups = None
    if not groups or len(groups) != frames:
        return (), (), ()
    positions, orientations, phases = [], [], []
    for group in groups:
        position = _nested(group, "PlanePositionSequence", "ImagePositionPatient", 3)
        orientation = _nested(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        if position is not None:
            positions.append(position)
        if orientation is not None:
            orientations.append(orientation)
        content = (
            _nested(group, "FrameContentSequence", "TemporalPositionIndex", 1),
            _nested(group, "MRDiffusionSequence", "DiffusionBValue", 1),
            _nested(group, "MREchoSequence", "EffectiveEchoTime", 1),
            _nested(group, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1),
            _nested(group, "FrameContentSequence", "StackID", 1),
        )
        phases.append(tuple(_first(c) or 0.0 for c in content))
    return (
        tuple(positions) if len(positions) == frames else (),
        tuple(orientations) if len(orientations) == frames else (),
        tuple(phases),
    )


def _phases(get: _Getter) -> tuple[tuple[str, float], ...]:
    names = ("TemporalPositionIdentifier", "DiffusionBValue", "EchoNumbers", "TriggerTime", "AcquisitionNumber")
    found = [(name, get.number(name)) for name in (*names, "AcquisitionTime", "ContentTime")]
    return tuple((name, value) for name, value in found if value is not None)


def _age(get: _Getter) -> float | None:
    text = get.text("PatientAge").upper()
    if m := re.fullmatch(r"(\d{1,3})([YMWD])", text):
        years = int(m[1]) / {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}[m[2]]
        return round(years, 2)
    born, seen = _iso(get.text("PatientBirthDate")), _date(get)
    if not born or not seen:
        return None
    (y0, m0, d0), (y1, m1, d1) = (tuple(map(int, t.split("-"))) for t in (born, seen))
    age = y1 - y0 - ((m1, d1) < (m0, d0))
    return float(age) if 0 <= age <= 130 else None


def _attributes(get: _Getter) -> tuple[tuple[str, str | float], ...]:
    out: list[tuple[str, str | float]] = []
    if (age := _age(get)) is not None:
        out.append(("age", age))
    if (sex := get.code("PatientSex")) in ("F", "M", "O"):
        out.append(("sex", sex))
    if device := " ".join(t for t in (get.text("Manufacturer"), get.text("ManufacturerModelName")) if t):
        out.append(("device", device))
    if site := get.text("InstitutionName"):
        out.append(("site", site))  # becomes a keyed hash before it leaves
    if (side := get.code("ImageLaterality") or get.code("Laterality")) in ("L", "R", "B"):
        out.append(("laterality", side))
    return tuple(out)


def _iso(text: str) -> str:
    """`YYYYMMDD` (or with dots) as ISO 8601, "" when it is no day of the calendar."""
    import datetime

    digits = text.replace(".", "").replace("-", "")[:8]
    if not re.fullmatch(r"[0-9]{8}", digits):
        return ""
    try:
        return datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return ""


def _date(get: _Getter) -> str:
    return next((d for k in ("StudyDate", "SeriesDate", "AcquisitionDate") if (d := _iso(get.text(k)))), "")


_VIEW_WORDS = (
    ("postero", "PA"), ("antero", "AP"), ("mediolateral oblique", "MLO"), ("medio-lateral oblique", "MLO"),
    ("cranio", "CC"), ("lateral", "LATERAL"),
)  # fmt: skip
_VIEW_CODES = {"LL": "LATERAL", "RL": "LATERAL", "LAT": "LATERAL", "LATERAL": "LATERAL"}


def _view(get: _Getter) -> str:
    if code := get.code("ViewPosition"):
        return _VIEW_CODES.get(code, code)
    coded = _groups(get._ds, "ViewCodeSequence")
    meaning = _clean(str(coded.get("CodeMeaning", ""))).lower() if coded is not None else ""
    return next((view for word, view in _VIEW_WORDS if word in meaning), "")


def _meta(ds: Dataset, get: _Getter, shared: Any) -> dict[str, Any]:
    """What display and reading need later."""
    meta: dict[str, Any] = {"format": "dicom", "photometric": get.code("PhotometricInterpretation")}
    centre, width = (_numbers(get.raw(k), None) for k in ("WindowCenter", "WindowWidth"))
    if centre is None and shared is not None:
        try:
            voi = shared.get("FrameVOILUTSequence")
            centre, width = ((_numbers(voi[0].get(k), None)) for k in ("WindowCenter", "WindowWidth"))
        except Exception:  # a broken sequence is a missing one
            centre = width = None
    windows = [[c, w] for c, w in zip(centre or (), width or (), strict=False) if w > 0]
    if windows:
        meta["window"] = windows
        if function := get.code("VOILUTFunction"):
            meta["voi_function"] = function
    elif table := _voi_table(ds):
        meta["voi_lut"] = table
    if units := get.code("RescaleType") or get.code("Units"):
        meta["units"] = units
    if (burned := get.code("BurnedInAnnotation")) in ("YES", "NO"):
        meta["burned_in"] = burned
    if frame_ms := get.number("FrameTime"):
        meta["fps"] = round(1000.0 / frame_ms, 3) if frame_ms > 0 else None
    elif rate := get.number("CineRate"):
        meta["fps"] = rate
    if offsets := _numbers(get.raw("GridFrameOffsetVector"), None):
        meta["offsets"] = list(offsets)
    return meta


def _voi_table(ds: Dataset) -> dict[str, Any] | None:
    try:
        item = ds.get("VOILUTSequence")[0]
        entries, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
        values = [int(v) for v in data] if not isinstance(data, bytes) else []
    except Exception:  # a broken table is a missing one
        return None
    if not values or len(values) != (entries or 65536) or len(values) > _MAX_LUT:
        return None
    return {"first": first, "bits": bits, "values": values}
