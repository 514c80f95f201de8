"""De-identification of DICOM objects: PS3.15 Annex E, Basic Application Level Confidentiality Profile.

An allow-list: a new object is built, and only what is known to be safe is put into it. An attribute of Table E.1-1
(data/deid_profile.json) is removed, emptied, replaced or remapped as the table says; another leaves only if PS3.6
knows it and its value is of the form that its VR says (`deid_allow`). So private, retired, unknown and repeating
groups (curves, overlays), free text, thumbnails, documents and padding do not leave, nor does anything in the file
meta group or preamble. Compressed pixels are decoded, bits and bytes that are not stored values become zero or go
(`pixel_words`). UIDs become keyed hashes, the same everywhere; dates move back by a number of days that is fixed for
each patient (Retain Longitudinal Temporal Information With Modified Dates Option), so that intervals stay true. What
is **not** done: nothing is taken out of the picture, so an object that may show a name is refused unless the caller
decides otherwise; faces in head volumes stay. Without the key nobody can redo the hashes: keep it secret, and the
same for all objects that belong together.

Running it again with the same key changes nothing: ids and UIDs carry a keyed check and are recognised.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
import io
import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.io.dicom.deid_allow import MEANING, elements, form, known_as, words_in
from vesalius.io.dicom.parse import load, quiet
from vesalius.io.dicom.pixel_words import CleanPixels, clean_pixels, clean_tables, syntax_of
from vesalius.io.dicom.pseudonyms import as_key
from vesalius.io.formats.blob import Blob
from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pool.messages import as_error

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement

#: Modalities whose pixels often show the patient's name or number: ultrasound, screenshots, angiography, ...
RISKY_MODALITIES = frozenset(["US", "IVUS", "SC", "XA", "RF", "OT", "ES", "XC", "GM", "DMS", "OP", "DOC", "ECG"])
#: What conversion types say that pixels come from a screen, a film or paper (PS3.3 C.8.6.1).
_CONVERTED = frozenset(["DV", "DI", "DF", "WSD", "SD", "SI", "DRW"])

METHOD = "PS3.15 Basic Profile by vesalius"
#: Attributes of the Retain Patient Characteristics Option that are kept when asked.
_CHARACTERISTICS = frozenset(
    ["PatientAge", "PatientSex", "PatientSize", "PatientWeight", "EthnicGroup", "SmokingStatus", "PregnancyStatus"]
)
#: Dates that say who someone is rather than when something was done.
_PERSONAL_DATES = frozenset(["PatientBirthDate", "PatientBirthTime", "PatientBirthDateInAlternativeCalendar"])
_MAX_SHIFT = 3650
#: Keeps every UID of ours at one length.
_TOP_BIT = 1 << 127

BurnedIn = Literal["refuse", "ocr", "keep"]


@functools.cache
def profile() -> dict[int, str]:
    """Tag to action (`X Z D U` and their combinations) of PS3.15 Table E.1-1."""
    text = (resources.files("vesalius.io.dicom") / "data" / "deid_profile.json").read_text(encoding="utf-8")
    return {int(tag, 16): action for tag, (_, action) in json.loads(text)["actions"].items()}


def burned_in_risk(ds: Dataset) -> str:
    """Why the pixels may show who the patient is, or "" when nothing in the header says so.

    The object's own statement (Burned In Annotation) decides where there is one; else modality, screenshot and film.
    """
    stated = str(ds.get("BurnedInAnnotation", "")).upper()
    if stated == "YES":
        return "BurnedInAnnotation is YES"
    if stated == "NO":
        return ""
    modality = str(ds.get("Modality", "")).upper()
    if modality in RISKY_MODALITIES or not modality:
        return f"modality {modality or 'unknown'} often shows names in its pixels and BurnedInAnnotation is not given"
    conversion = str(ds.get("ConversionType", "")).upper()
    if conversion in _CONVERTED:
        return f"it was captured from a screen, film or paper ({conversion})"
    kinds = {str(t).upper() for t in ds.get("ImageType", []) or []}
    if kinds & {"SCREEN SAVE", "SCREENSHOT", "SECONDARY CAPTURE"}:
        return "its ImageType says it is a screenshot"
    return ""


def deidentify(
    ds: Dataset,
    key: str | bytes,
    *,
    keep_characteristics: bool = False,
    burned_in: BurnedIn = "refuse",
    limits: Limits | None = None,
) -> Dataset:
    """A copy of a data set without what identifies the patient, staff and site.

    Args:
        ds: Fully parsed, pixels included.
        key: Secret of at least 16 bytes.
        keep_characteristics: Keep age, sex, size, weight and the like (Retain Patient Characteristics Option).
        burned_in: What to do when the pixels may show text: refuse, look with OCR (the `ocr` extra) and refuse when
            text is found, or keep.
        limits: Budgets for decoding compressed pixels.

    Returns:
        A new data set, with 0012,0062, 0012,0063 and 0012,0064 saying what was done. Its pixels are not compressed.

    Raises:
        UsageError: The key is too short.
        BadInputError: The object may show names in its pixels, or is of a kind the basic profile cannot clean.
        MissingError: OCR is asked for and not installed.
    """
    secret = as_key(key)
    if len(secret) < 16:
        raise UsageError(
            "de-identification key is too short", why=f"{len(secret)} bytes", fix="use 16 random bytes or more"
        )
    if "ContentSequence" in ds or "EncapsulatedDocument" in ds:
        raise BadInputError("cannot de-identify", why="it is a report or document, whose text may name the patient")
    if str(ds.get("SOPClassUID", "")) not in _standard_uids():
        raise BadInputError("cannot de-identify", why="its SOP class is not one of the standard's")
    _check_pixels(ds, burned_in)
    patient = str(ds.get("PatientID", "") or ds.get("StudyInstanceUID", "") or "")
    own = _is_ours(patient, secret)
    shift = 0 if own else -1 - _number(secret, "shift", patient) % _MAX_SHIFT
    words = frozenset() if own else words_in(ds)
    out = _Cleaner(secret, shift, keep_characteristics, words).clean(ds)
    name = patient if own else _pseudonym(patient, secret)
    out.PatientID, out.PatientName = name, name
    pixels = clean_pixels(ds, "", limits or DEFAULT)
    for keyword, value in pixels.header.items():
        setattr(out, keyword, value)
    clean_tables(out, _indices(pixels, out))
    if out.get("PhotometricInterpretation") == "PALETTE COLOR" and "RedPaletteColorLookupTableData" not in out:
        raise BadInputError("cannot de-identify", why="its palette is of a form that cannot be checked")
    _state(out, keep_characteristics)
    out.add_new(pixels.keyword, pixels.vr, pixels.data)
    out.preamble = b"\0" * 128
    out.file_meta = _file_meta(out, pixels.syntax)
    return out


def _standard_uids() -> Any:
    from pydicom.uid import UID_dictionary

    return UID_dictionary


def _indices(pixels: CleanPixels, ds: Dataset) -> frozenset[int] | None:
    """Palette entries that pixels use, where pixels are such."""
    if ds.get("PhotometricInterpretation") != "PALETTE COLOR" or pixels.keyword != "PixelData":
        return None
    import numpy as np

    order = ">" if pixels.syntax == "1.2.840.10008.1.2.2" else "<"
    kind = "i" if ds.get("PixelRepresentation") == 1 else "u"
    return frozenset(np.unique(np.frombuffer(pixels.data, f"{order}{kind}{int(ds.BitsAllocated) // 8}")).tolist())


def _file_meta(ds: Dataset, syntax: str) -> Any:
    """A new file meta group: what the old one held beside the object's class and UID is not looked at."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = ds.get("SOPClassUID", ""), UID(syntax)
    if "SOPInstanceUID" in ds:
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return meta


def deidentify_file(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    key: str | bytes,
    *,
    keep_characteristics: bool = False,
    burned_in: BurnedIn = "refuse",
    limits: Limits | None = None,
) -> Path:
    """De-identify one file into a folder, under a name made from its new UID.

    The result is read back and its pixel data compared before it gets its name, so that a file that could not be
    parsed in full is never written over by half of itself.

    Args:
        path: A DICOM file.
        folder: Made if it is not there.
        key: As in `deidentify`.
        keep_characteristics: As in `deidentify`.
        burned_in: As in `deidentify`.
        limits: Budgets for reading.

    Returns:
        The file written.

    Raises:
        BadInputError: It cannot be read, has no UID, or may show names in its pixels.
    """
    limits = limits or DEFAULT
    source, target = Path(path), Path(folder)
    item = source.name
    try:
        with quiet(), Blob(source, "", item).open(limits) as stream:
            ds, _ = load(stream, item, limits, pixels=True)
            _known_whole(ds, item)
            out = deidentify(ds, key, keep_characteristics=keep_characteristics, burned_in=burned_in, limits=limits)
            data = _written(out, item, limits)
    except VesaliusError as error:
        raise as_error(error, item) from error
    except Exception as error:
        # What pydicom says may quote a value, and a value may be a name: only the kind of error is told.
        raise BadInputError(
            "cannot de-identify", item=item, why=f"it cannot be parsed ({type(error).__name__})"
        ) from None
    target.mkdir(parents=True, exist_ok=True)
    final = target / (hashlib.sha256(str(out.SOPInstanceUID).encode()).hexdigest()[:32] + ".dcm")
    part = final.with_suffix(".part")
    part.write_bytes(data)
    part.replace(final)
    return final


def _known_whole(ds: Dataset, item: str) -> None:
    if not ds.get("SOPInstanceUID") or not ds.get("SOPClassUID"):
        raise BadInputError("cannot de-identify", item=item, why="it has no SOP class and instance UID")
    if not any(k in ds for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise BadInputError("cannot de-identify", item=item, why="it holds no pixels (is it cut off?)")
    if "PixelData" not in ds:
        return
    frames, bits = int(ds.get("NumberOfFrames") or 1), int(ds.BitsAllocated)
    if syntax_of(ds).is_encapsulated:
        from pydicom.encaps import generate_frames

        whole = sum(1 for _ in generate_frames(ds.PixelData, number_of_frames=frames)) >= frames
    else:
        # YBR_FULL_422 stores two thirds of the samples.
        expected = int(ds.Rows) * int(ds.Columns) * frames * int(ds.get("SamplesPerPixel") or 1) * bits // 8
        whole = len(ds.PixelData) >= (expected * 2 // 3 if "422" in str(ds.PhotometricInterpretation) else expected)
    if not whole:
        raise BadInputError("cannot de-identify", item=item, why="its pixels are cut off")


def _written(out: Dataset, item: str, limits: Limits) -> bytes:
    buffer = io.BytesIO()
    out.save_as(buffer, enforce_file_format=True)
    again, _ = load(io.BytesIO(buffer.getvalue()), item, limits, pixels=True)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if out.get(keyword) != again.get(keyword):
            raise BadInputError("cannot de-identify", item=item, why="what was written does not read back the same")
    return buffer.getvalue()


def _check_pixels(ds: Dataset, burned_in: BurnedIn) -> None:
    risk = burned_in_risk(ds)
    if not risk or burned_in == "keep":
        return
    if burned_in == "refuse":
        raise BadInputError(
            "pixels may show the patient's name",
            why=risk,
            fix="look at it, or check with OCR (burned_in='ocr'), or keep it as it is (burned_in='keep')",
        )
    from vesalius.io.ocr import text_in_dataset

    words = text_in_dataset(ds)
    if words:
        raise BadInputError("pixels show text", why=f"OCR found {words} pieces of text", fix="mask it before sharing")


class _Cleaner:
    """Builds a clean data set out of another: an element that nothing here lets through is not copied."""

    def __init__(self, key: bytes, shift: int, keep_characteristics: bool, words: frozenset[str]) -> None:
        self._key, self._shift, self._keep, self._words = key, shift, keep_characteristics, words

    def clean(self, ds: Dataset, *, root: bool = True) -> Dataset:
        from pydicom import Dataset as Pydicom
        from pydicom.dataelem import DataElement as Element

        out = Pydicom()
        for element in elements(ds):
            keyword = None if element.tag.is_private else known_as(element)
            if keyword is not None and (found := self._one(element, keyword, root)) is not None:
                (value,) = found
                out.add(Element(element.tag, element.VR, value))
        lost = [k for k in MEANING if k in ds and k not in out]
        if lost:
            raise BadInputError("cannot de-identify", why=f"its {lost[0]} is not of the form that it must have")
        if not root:
            clean_tables(out)
        return out

    def _one(self, element: DataElement, keyword: str, root: bool) -> tuple[Any] | None:
        """The value that leaves, in a tuple; None where the element must not."""
        action = profile().get(int(element.tag), "")
        if keyword in _PERSONAL_DATES:
            return (None,)
        if element.VR in ("DA", "DT"):
            return (_each(element.value, functools.partial(self._date, element.VR)),)
        if element.VR == "UI":
            return (_each(element.value, self._uid),)
        if element.VR == "SQ" and action in ("", "X/Z/U*"):
            return ([self.clean(item, root=False) for item in element.value],)
        kept = self._keep and keyword in _CHARACTERISTICS
        # The day moves, the hour stays: the option's own term is "modified dates".
        if kept or element.VR == "TM" or action == "":
            value = form(element, root=root, words=self._words)
            return None if value is None and element.value not in (None, "") else (value,)
        if action == "D" or action.endswith("/D"):
            return _dummy(element)
        if action in ("Z", "X/Z"):
            return ([] if element.VR == "SQ" else None,)
        return None

    def _uid(self, uid: object) -> str:
        from pydicom.uid import UID_dictionary

        text = str(uid)
        if not text or text in UID_dictionary or _is_own_uid(text, self._key):
            return text  # a UID of the standard itself says nothing about anyone
        return remap_uid(text, self._key)

    def _date(self, vr: str, value: object) -> str:
        text = str(value).strip()
        match = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", text)
        # What follows the day is the time and the offset from UTC, and nothing else.
        rest = r"(\d{2}){0,3}(\.\d{1,6})?([+-]\d{4})?" if vr == "DT" else ""
        if not match or not re.fullmatch(rest, text[match.end() :]):
            return ""  # half a date cannot be moved
        try:
            day = datetime.date(*map(int, match.groups())) + datetime.timedelta(days=self._shift)
        except (ValueError, OverflowError):
            return ""
        return f"{day:%Y%m%d}".rjust(8, "0") + text[match.end() :]


def _dummy(element: DataElement) -> tuple[Any] | None:
    if element.VR == "SQ":
        return ([],)
    if element.VR in ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"):
        return ("REMOVED",)
    if element.VR in ("DS", "IS"):
        return ("0",)
    return (0,) if element.VR in ("FD", "FL", "SL", "SS", "UL", "US", "SV", "UV") else None


def remap_uid(uid: str, key: bytes) -> str:
    """A UID under 2.25 (PS3.5 B.2): 95 bits of HMAC-SHA-256 of the old one, then 32 bits that let the key know it."""
    body = _number(key, "uid", uid) >> 161
    return f"2.25.{_TOP_BIT | body << 32 | _check(key, body)}"


def _is_own_uid(uid: str, key: bytes) -> bool:
    number = uid.removeprefix("2.25.")
    if number == uid or not number.isdigit() or int(number) >> 127 != 1:
        return False
    return int(number) & 0xFFFFFFFF == _check(key, (int(number) - _TOP_BIT) >> 32)


def _check(key: bytes, body: int) -> int:
    return _number(key, "check", format(body, "x")) >> 224


def _pseudonym(patient: str, key: bytes) -> str:
    body = _number(key, "patient", patient) >> 192
    return f"V{body:016X}{_check(key, body):08X}"


def _is_ours(patient: str, key: bytes) -> bool:
    if not re.fullmatch(r"V[0-9A-F]{24}", patient):
        return False
    return int(patient[17:], 16) == _check(key, int(patient[1:17], 16))


def _number(key: bytes, purpose: str, text: str) -> int:
    """256 bits of HMAC-SHA-256."""
    digest = hmac.new(key, f"{purpose}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    return int.from_bytes(digest, "big")


def _each(value: Any, change: Any) -> Any:
    if value is None or value == "":
        return value
    if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue":
        return [change(v) for v in value]
    return change(value)


def _state(ds: Dataset, characteristics: bool) -> None:
    """Say what was done (PS3.15 E.1.1): 0012,0062 to 0064 and 0028,0303, codes of CID 7050."""
    from pydicom import Dataset as Pydicom
    from pydicom.sequence import Sequence

    codes = [
        ("113100", "Basic Application Confidentiality Profile"),
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ]
    if characteristics:
        codes.append(("113108", "Retain Patient Characteristics Option"))
    items = []
    for value, meaning in codes:
        item = Pydicom()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = METHOD
    ds.DeidentificationMethodCodeSequence = Sequence(items)
    ds.LongitudinalTemporalInformationModified = "MODIFIED"
