"""What a segment shows, as DICOM codes: from a name in plain words to SNOMED CT category and type.

The table holds names and the codes that DICOM PS3.16 CID 7150 and 7151 give them. A name that is not in it is coded
as tissue, and is still written out in full as the segment's label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

#: Code value, coding scheme, code meaning.
Code = tuple[str, str, str]

_TISSUE: Code = ("85756007", "SCT", "Tissue")
_SIDES: dict[str, Code] = {"left": ("7771000", "SCT", "Left"), "right": ("24028007", "SCT", "Right")}


@dataclass(frozen=True, slots=True)
class PropertyCodes:
    """Codes of one segment.

    Args:
        category: Segmented Property Category (0062,0003).
        type: Segmented Property Type (0062,000F).
        side: Segmented Property Type Modifier (0062,0011), where the name says left or right.
    """

    category: Code
    type: Code
    side: Code | None = None


def property_codes(label: str) -> PropertyCodes:
    """The codes of a name: case, a leading side and a plural's s do not matter.

    Example:
        >>> property_codes("Left lung").type
        ('39607008', 'SCT', 'Lung')
    """
    words = label.lower().replace("_", " ").split()
    side = _SIDES.get(words[0]) if len(words) > 1 else None
    name = " ".join(words[1:] if side else words)
    table = _table()
    found = table.get(name) or table.get(name.removesuffix("s"))
    if found is None:
        return PropertyCodes(_TISSUE, _TISSUE, side)
    return PropertyCodes(*found, side)


@cache
def _table() -> dict[str, tuple[Code, Code]]:
    text = resources.files("vesalius.io.dicom").joinpath("seg_codes.json").read_text("utf-8")
    return {name: (tuple(row["category"]), tuple(row["type"])) for name, row in json.loads(text).items()}
