"""Table cells as values of the record; an empty cell is always "not known"."""

from __future__ import annotations

import math
import re

from vesalius.sources.layouts.layout import Parse

Value = str | int | float | None

_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
_SIDES = {"l": "L", "left": "L", "r": "R", "right": "R"}
_UNKNOWN = frozenset({"", "na", "n/a", "nan", "none", "unknown", "null", "u", "?"})
_VIEWS = {"P": "PA", "LATERAL": "LATERAL", "L": "LATERAL", "LL": "LL"}


def parse(cell: str, how: Parse) -> Value:
    """One cell as a value.

    Args:
        cell: The text.
        how: `text`; `number` and `integer`; `age` in years (`058Y`, `058M`, `58`, up to 120); `sex` as `F M O`;
            `status` as 1, 0, -1 (CheXpert's floats too); `flag` as 1 or 0; `view` in capitals; `side` as L or R.

    Returns:
        The value, None when the cell says that it is not known.

    Raises:
        ValueError: The cell cannot be understood.
    """
    text = cell.strip()
    if how == "text":
        return text or None
    if text.lower() in _UNKNOWN:
        return None
    if how == "view":
        view = text.upper().replace("_", " ")
        return _VIEWS.get(view, view)
    if how == "sex":
        if text.lower() not in _SEX:
            raise ValueError(f"sex {text!r} is not one of M, F, O")
        return _SEX[text.lower()]
    if how == "side":
        if text.lower() not in _SIDES:
            raise ValueError(f"side {text!r} is neither left nor right")
        return _SIDES[text.lower()]
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")  # a decimal comma, as spreadsheets of half the world write it
    if how == "age":
        return _age(text)
    if how == "flag" and text.lower() in {"true", "yes", "false", "no"}:
        return int(text.lower() in {"true", "yes"})
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    if how == "number":
        return value
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number")
    if how == "status" and value not in (-1, 0, 1):
        raise ValueError(f"status {text!r} is not 1, 0 or -1")
    if how == "flag" and value not in (0, 1):
        raise ValueError(f"{text!r} is not 0 or 1")
    return int(value)


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*([YyMmWwDd]?)", text)
    if not match:
        raise ValueError(f"age {text!r} is not a number of years")
    years = float(match[1]) / {"": 1, "y": 1, "m": 12, "w": 52.1775, "d": 365.2425}[match[2].lower()]
    if years > 120:
        raise ValueError(f"age {text!r} is over 120 years")
    return round(years, 4)
