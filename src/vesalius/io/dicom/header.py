"""The header of one DICOM file as plain data: what grouping, sorting and describing need, and no pixel."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from vesalius.errors import BadInputError
from vesalius.io.dicom import facts
from vesalius.io.dicom.parse import EXPLICIT, load, quiet
from vesalius.io.dicom.values import Getter, clean, first, first_item, nested, tags
from vesalius.io.formats.stream import size_of
from vesalius.io.limits import Limits, check_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

#: PS3.5 9.1: at most 64 characters, digits in groups divided by dots.
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


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


@dataclass(frozen=True, slots=True)
class Segmentation:
    """One DICOM SEG: masks for an image that other files hold. Identifiers in it stay in memory.

    Args:
        item: What messages call it.
        path: Where it is.
        member: Name inside the archive at `path`, or "".
        sop: Its own UID.
        series: UID of the series that it segments; "" where it does not say.
    """

    item: str
    path: str
    member: str
    sop: str
    series: str


def read_header(
    stream: BinaryIO, item: str, limits: Limits, *, path: str = "", member: str = ""
) -> Header | Segmentation:
    """Read one header and check it against the budgets.

    Raises:
        BadInputError: Not DICOM, holds no image, or its header makes no sense.
        UnsafeInputError: Over the pixel budget.
    """
    with quiet():
        ds, stream = load(stream, item, limits, pixels=False, tags=list(tags().values()))
        return _header(ds, stream, item, limits, path, member)


def _header(ds: Dataset, stream: BinaryIO, item: str, limits: Limits, path: str, member: str) -> Header | Segmentation:
    if len(ds) == 0:
        raise BadInputError("cannot read DICOM", item=item, why="it holds no data element")
    get = Getter(ds)
    modality = get.code("Modality")
    rows, columns = get.integer("Rows"), get.integer("Columns")
    if rows is None or columns is None:
        kind = f"it is {modality} without pixels" if modality else "it says no Rows and Columns"
        raise BadInputError("DICOM object holds no image", item=item, why=kind)
    if modality == "SEG":
        of = first_item(ds, "ReferencedSeriesSequence")
        series = "" if of is None else _uid(clean(str(of.get("SeriesInstanceUID", ""))))
        return Segmentation(item, path, member, _uid(get.text("SOPInstanceUID")), series)
    if get.integer("TotalPixelMatrixColumns"):
        why = "it is a tiled whole-slide image"
        raise BadInputError("DICOM object is not read as an image", item=item, why=why)
    frames, samples = get.integer("NumberOfFrames"), get.integer("SamplesPerPixel") or 1
    frames = 1 if frames is None else frames
    bits = get.integer("BitsAllocated") or 8
    check_pixels((frames, rows, columns, samples), max(1.0, bits / 8), limits, item)
    _check_native_length(ds, stream, item, rows * columns * frames * samples * bits)
    faults: list[str] = []
    per_frame = _frames(ds, frames)
    shared = first_item(ds, "SharedFunctionalGroupsSequence")
    sop = _uid(get.text("SOPInstanceUID"))
    if not sop:
        faults.append("SOP Instance UID is missing or not valid")
    spacing, at = get.floats("PixelSpacing", 2), "patient"
    if spacing is None and shared is not None:
        spacing = nested(shared, "PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing is None and (spacing := get.floats("ImagerPixelSpacing", 2)) is not None:
        at = "detector"
    if spacing is not None and not all(s > 0 for s in spacing):
        faults.append("pixel spacing is not positive")
        spacing = None
    orientation = get.floats("ImageOrientationPatient", 6)
    if orientation is None and shared is not None:
        orientation = nested(shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if orientation is not None and not _orthonormal(orientation):
        faults.append("image orientation is not two perpendicular unit vectors")
        orientation = None
    thickness = get.number("SliceThickness")
    between = get.number("SpacingBetweenSlices")
    if shared is not None:
        thickness = thickness or first(nested(shared, "PixelMeasuresSequence", "SliceThickness", 1))
        between = between or first(nested(shared, "PixelMeasuresSequence", "SpacingBetweenSlices", 1))
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
        phases=facts.phases(get),
        frame_positions=per_frame[0],
        frame_orientations=per_frame[1],
        frame_phases=per_frame[2],
        attributes=facts.attributes(get),
        date=facts.date(get),
        view=facts.view(get),
        body_part=get.text("BodyPartExamined").lower(),
        meta=facts.meta(ds, get, shared),
        faults=tuple(faults),
        multi=frames > 1 or bool(per_frame[0]),
    )


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
    if not implicit and syntax != EXPLICIT:
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
        position = nested(group, "PlanePositionSequence", "ImagePositionPatient", 3)
        orientation = nested(group, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        if position is not None:
            positions.append(position)
        if orientation is not None:
            orientations.append(orientation)
        content = (
            nested(group, "FrameContentSequence", "TemporalPositionIndex", 1),
            nested(group, "MRDiffusionSequence", "DiffusionBValue", 1),
            nested(group, "MREchoSequence", "EffectiveEchoTime", 1),
            nested(group, "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", 1),
            nested(group, "FrameContentSequence", "StackID", 1),
        )
        phases.append(tuple(first(c) or 0.0 for c in content))
    return (
        tuple(positions) if len(positions) == frames else (),
        tuple(orientations) if len(orientations) == frames else (),
        tuple(phases),
    )
