"""What a DICOM header says about patient, visit and display, as plain data."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

from vesalius.io.dicom.values import Getter, clean, first_item, numbers

if TYPE_CHECKING:
    from pydicom import Dataset

#: A palette or window table with more entries is not kept with the header.
_MAX_LUT = 4096


def phases(get: Getter) -> tuple[tuple[str, float], ...]:
    """What may tell volumes of one series apart: name and value, the most telling first."""
    names = ("TemporalPositionIdentifier", "DiffusionBValue", "EchoNumbers", "TriggerTime", "AcquisitionNumber")
    found = [(name, get.number(name)) for name in (*names, "AcquisitionTime", "ContentTime")]
    return tuple((name, value) for name, value in found if value is not None)


def _age(get: Getter) -> float | None:
    text = get.text("PatientAge").upper()
    if m := re.fullmatch(r"(\d{1,3})([YMWD])", text):
        years = int(m[1]) / {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.25}[m[2]]
        return round(years, 2)
    born, seen = _iso(get.text("PatientBirthDate")), date(get)
    if not born or not seen:
        return None
    (y0, m0, d0), (y1, m1, d1) = (tuple(map(int, t.split("-"))) for t in (born, seen))
    age = y1 - y0 - ((m1, d1) < (m0, d0))
    return float(age) if 0 <= age <= 130 else None


def attributes(get: Getter) -> tuple[tuple[str, str | float], ...]:
    """Age, sex, device, site (still in clear: it becomes a keyed hash later) and side."""
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
    digits = text.replace(".", "").replace("-", "")[:8]
    if not re.fullmatch(r"[0-9]{8}", digits):
        return ""
    try:
        return datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    except ValueError:
        return ""


def date(get: Getter) -> str:
    """Day of the study as ISO 8601, or ""."""
    return next((d for k in ("StudyDate", "SeriesDate", "AcquisitionDate") if (d := _iso(get.text(k)))), "")


_VIEW_WORDS = (
    ("postero", "PA"), ("antero", "AP"), ("mediolateral oblique", "MLO"), ("medio-lateral oblique", "MLO"),
    ("cranio", "CC"), ("lateral", "LATERAL"),
)  # fmt: skip
_VIEW_CODES = {"LL": "LATERAL", "RL": "LATERAL", "LAT": "LATERAL", "LATERAL": "LATERAL"}


def view(get: Getter) -> str:
    """View code (PA, AP, LATERAL, CC, MLO, ...), or ""."""
    if code := get.code("ViewPosition"):
        return _VIEW_CODES.get(code, code)
    coded = first_item(get._ds, "ViewCodeSequence")
    meaning = clean(str(coded.get("CodeMeaning", ""))).lower() if coded is not None else ""
    return next((view for word, view in _VIEW_WORDS if word in meaning), "")


def meta(ds: Dataset, get: Getter, shared: Any) -> dict[str, Any]:
    """What display and reading need later."""
    meta: dict[str, Any] = {"format": "dicom", "photometric": get.code("PhotometricInterpretation")}
    centre, width = (numbers(get.raw(k), None) for k in ("WindowCenter", "WindowWidth"))
    if centre is None and shared is not None:
        try:
            voi = shared.get("FrameVOILUTSequence")
            centre, width = ((numbers(voi[0].get(k), None)) for k in ("WindowCenter", "WindowWidth"))
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
    if offsets := numbers(get.raw("GridFrameOffsetVector"), None):
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
