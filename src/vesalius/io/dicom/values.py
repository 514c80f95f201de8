"""Values of DICOM elements by keyword, from raw bytes where that can be done; a broken value is a missing one."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

#: Keywords that a header scan reads.
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
    "ReferencedSeriesSequence",
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


@functools.cache
def tags() -> dict[str, BaseTag]:
    """Keyword to tag; looking one up in the dictionary for every value of every file adds up."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return {keyword: Tag(tag) for keyword in _TAGS if (tag := tag_for_keyword(keyword)) is not None}


class Getter:
    """Values by keyword, None or empty where a value is missing or cannot be understood.

    Reads the raw bytes of an element where it can: the parser's own conversion of values costs more than all else.
    """

    def __init__(self, ds: Dataset) -> None:
        self._ds = ds

    def raw(self, keyword: str) -> Any:
        """The value as text, texts, a number or what pydicom makes of it; None when there is none."""
        try:
            element = self._ds.get_item(tags()[keyword])
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
        """All values as cleaned text."""
        value = self.raw(keyword)
        if value is None:
            return []
        values = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
        return [clean(str(v)) for v in values]

    def text(self, keyword: str) -> str:
        """The first value as cleaned text, or ""."""
        return next(iter(self.texts(keyword)), "")

    def code(self, keyword: str) -> str:
        """A code string (VR CS): capitals, digits, space, underscore, at most 16 characters; else empty."""
        text = self.text(keyword).upper()
        return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""

    def floats(self, keyword: str, n: int) -> tuple[float, ...] | None:
        """Exactly `n` finite numbers, or None."""
        return numbers(self.raw(keyword), n)

    def number(self, keyword: str) -> float | None:
        """The first value as a finite number, or None."""
        found = numbers(self.raw(keyword), None)
        return found[0] if found else None

    def integer(self, keyword: str) -> int | None:
        """The first value as a whole number, or None."""
        found = self.number(keyword)
        return None if found is None else int(found)


def numbers(value: Any, n: int | None) -> tuple[float, ...] | None:
    """A tuple of finite numbers, of length `n` where it is given; None for anything else."""
    if value is None or value == "":
        return None
    many = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    try:
        out = tuple(float(v) for v in (value if many else [value]))
    except (TypeError, ValueError, OverflowError):
        return None
    return out if out and (n is None or len(out) == n) and all(math.isfinite(v) for v in out) else None


def first(values: tuple[float, ...] | None) -> float | None:
    """The first of some numbers, or None."""
    return values[0] if values else None


def clean(text: str) -> str:
    """Printable characters only, trimmed, at most 256."""
    return "".join(c for c in text if c.isprintable()).strip()[:256]


def first_item(ds: Dataset, keyword: str) -> Any:
    """The first item of a sequence, or None."""
    try:
        sequence = ds.get(keyword)
        return sequence[0] if sequence else None
    except Exception:  # a broken sequence is a missing one
        return None


def nested(group: Any, sequence: str, keyword: str, n: int) -> tuple[float, ...] | None:
    """`n` finite numbers from the first item of a sequence within a group, or None."""
    try:
        inner = group.get(sequence)
        return numbers(inner[0].get(keyword), n) if inner else None
    except Exception:  # as above
        return None
