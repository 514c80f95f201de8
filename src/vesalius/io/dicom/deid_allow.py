"""What a de-identified object may hold beside the rows of PS3.15 Table E.1-1: an allow-list of elements and of values.

The table says what to do with attributes that may identify somebody. Of the others, an element leaves only if PS3.6
knows it and does not call it retired, its VR and number of values are those of PS3.6, and its value is of the form of
its VR: a code, a number, a UID. Text and bytes have no form that could be checked: only those that are named here
leave.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset
    from pydicom.dataelem import DataElement

__all__ = ["MEANING", "elements", "form", "known_as", "words_in"]

#: Text that a machine or a coding scheme writes, needed to understand the pixels. Everything else of these VRs goes.
TEXT = frozenset(
    [
        # codes and their meaning
        "CodeValue", "CodeMeaning", "CodingSchemeDesignator", "CodingSchemeVersion", "LongCodeValue", "URNCodeValue",
        "MappingResourceName",
        # the machine
        "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DetectorManufacturerName",
        "DetectorManufacturerModelName", "SecondaryCaptureDeviceManufacturer",
        "SecondaryCaptureDeviceManufacturerModelName", "SecondaryCaptureDeviceSoftwareVersions",
        "DigitalImageFormatAcquired", "VideoImageFormatAcquired",
        # how it acquired and reconstructed
        "AcquisitionMode", "SequenceName", "PulseSequenceName", "ImagedNucleus", "ReceiveCoilName", "TransmitCoilName",
        "ConvolutionKernel", "FilterType", "TypeOfFilters", "ImageFilter", "CollimatorGridName", "PhosphorType",
        "PlateType", "ProcessingFunction", "TriggerSourceOrType", "CardiacFramingType", "PVCRejection", "ViewName",
        "ContrastBolusRoute", "Radiopharmaceutical", "RadiopharmaceuticalRoute", "AttenuationCorrectionMethod",
        "ReconstructionMethod", "ScatterCorrectionMethod", "OutputPower",
        # what the values and axes mean
        "RescaleType", "ModalityLUTType", "LUTExplanation", "LUTLabel", "WindowCenterWidthExplanation", "StackID",
        "DimensionDescriptionLabel", "OpticalPathIdentifier", "SegmentAlgorithmName", "AlgorithmName",
        "AlgorithmVersion",
    ]
)  # fmt: skip
#: Bytes that are numbers of a known count; `pixel_words` cuts them to it. Pixels themselves are cleaned apart.
TABLES = frozenset(
    [
        "LUTData", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData", "AlphaPaletteColorLookupTableData",
    ]
)  # fmt: skip
#: Without these the pixels would mean something else: an object whose value of one cannot leave does not leave.
MEANING = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip
#: PS3.5 Table 6.2-1: what a value of each textual VR looks like.
_FORMS = {
    "CS": re.compile(r"[A-Z0-9_ ]{0,16}"),
    "DS": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
    "IS": re.compile(r"[+-]?\d{1,11}"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "TM": re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?"),
}
_LONGEST = {"DS": 32, "LO": 64, "SH": 16, "LT": 1024, "ST": 1024, "UC": 256, "UR": 256}
_NUMBERS = frozenset(["US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT"])
#: SpecificCharacterSet leaves its first value empty, and writes what CS does not allow.
_CHARSETS = re.compile(r"(ISO[ _][A-Za-z0-9_ ]{0,13}|GB18030|GBK)?")


@functools.cache
def _known(tag: int) -> tuple[frozenset[str], str, str] | None:
    """VRs, number of values and keyword that PS3.6 gives a tag; None where it does not know it or retired it."""
    from pydicom._dicom_dict import DicomDictionary

    # The exact entry: pydicom's own lookup also answers for the repeating groups (curves, overlays), which must go.
    entry = DicomDictionary.get(tag)
    if entry is None or entry[3] or not entry[4]:
        return None
    return frozenset(entry[0].split(" or ")), entry[1], entry[4]


def form(element: DataElement, *, root: bool, words: frozenset[str]) -> Any:
    """The value that may leave, or None where the element must not.

    Args:
        element: Not private, and not of a VR that is mapped (dates, UIDs) or gone through (sequences).
        root: It stands in the data set itself, not in a sequence.
        words: What `words_in` found: no text that holds one of them leaves.
    """
    known = known_as(element)
    if known is None or element.VR in ("UN", "PN"):
        return None
    vr, keyword = element.VR, known
    values = _values(element.value)
    if vr in _NUMBERS:
        return element.value if all(isinstance(v, int | float) for v in values) else None
    if vr.startswith("O"):
        return element.value if keyword in TABLES else None
    if vr in ("LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE") and keyword not in TEXT:
        return None
    texts = ["" if v is None else str(v).strip(" \0") for v in values]
    pattern = _CHARSETS if keyword == "SpecificCharacterSet" and root else _FORMS.get(vr)
    for text in texts:
        if text and pattern is not None and not pattern.fullmatch(text):
            return None
        if len(text) > _LONGEST.get(vr, 1024) or not text.isprintable() or _names(text, vr, words):
            return None
    return texts if len(texts) > 1 else texts[0] if texts else None


def known_as(element: DataElement) -> str | None:
    """The keyword of an element that is what PS3.6 says it is; None for any other."""
    known = _known(int(element.tag))
    if known is None or element.VR not in known[0] or not _count_fits(element, known[1]):
        return None
    return known[2]


def elements(ds: Dataset) -> Iterator[DataElement]:
    """The elements of a data set that can be parsed; a broken one is passed over, and so does not leave."""
    for tag in list(ds.keys()):
        try:
            element = ds[tag]
        except Exception:  # noqa: S112 - a broken value may be a name: it is not logged, and it does not leave
            continue
        yield element


def words_in(ds: Dataset) -> frozenset[str]:
    """Parts of names and numbers of people anywhere in an object, in lower case: what text must not repeat."""
    found: set[str] = set()
    for element in elements(ds):
        if element.VR == "SQ":
            found = found.union(*(words_in(item) for item in element.value))
        elif element.VR == "PN" or element.keyword in ("PatientID", "OtherPatientIDs", "AccessionNumber"):
            for value in _values(element.value):
                found |= {w.casefold() for w in re.split(r"[\s^=,]+", str(value)) if len(w) >= 4}
    return frozenset(found)


def _names(text: str, vr: str, words: frozenset[str]) -> bool:
    """Whether a text repeats somebody's name or number: anywhere in free text, as a word of its own in a code."""
    low = text.casefold()
    if vr == "CS":
        return not words.isdisjoint(re.split(r"[ _]", low))
    return vr in ("LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE") and any(w in low for w in words)


def _values(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return list(value)
    return [value]


def _count_fits(element: DataElement, vm: str) -> bool:
    """Whether there are as many values as the VM of PS3.6 (`1`, `3`, `1-n`, `2-2n`) allows."""
    if element.VR == "SQ" or isinstance(element.value, bytes):
        return True
    n = len(_values(element.value))
    low, _, high = vm.partition("-")
    if not low.isdigit():
        return True
    return n == 0 or (int(low) <= n and (high.endswith("n") or n <= int(high or low)))
