"""DICOM modality and view codes, and the words people use for them.

Codes are those of DICOM PS3.3 C.7.3.1.1.1 (Modality) and of View Position; words are in `data/modalities.json`.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from vesalius.text.tables import load_table

#: Words for body parts that DICOM Body Part Examined writes in capitals without spaces.
_BODY_PARTS = {"BREAST": "breast", "CSPINE": "cervical spine", "TSPINE": "thoracic spine", "LSPINE": "lumbar spine"}


def modality_codes() -> tuple[str, ...]:
    """All modality codes in the table, in its order."""
    return tuple(load_table("modalities")["modalities"])


@functools.cache
def _modality_by_word() -> dict[str, str]:
    """Every name, synonym and alias (lower case) -> code; the first code to claim a word keeps it."""
    found: dict[str, str] = {}
    entries = dict(load_table("modalities")["modalities"])
    entries = {"DX": entries.pop("DX"), **entries}  # "x-ray" means DX; CR and RG share its words
    for code, entry in entries.items():
        for word in (entry["name"], *entry["synonyms"], *entry["aliases"], entry["zh"]):
            found.setdefault(word.lower(), code)
    return found


def modality_code(text: str) -> str | None:
    """The DICOM code for a code or a spoken name.

    Args:
        text: A code (`"MR"`) or a name (`"mammogram"`, `"retinal OCT"`), any letter case.

    Returns:
        The code, or `None` when the words are unknown.

    Examples:
        >>> modality_code("mammogram"), modality_code("mr"), modality_code("tarot")
        ('MG', 'MR', None)
    """
    stripped = text.strip()
    if stripped.upper() in load_table("modalities")["modalities"]:
        return stripped.upper()
    return _modality_by_word().get(re.sub(r"\s+", " ", stripped).lower())


def modality_names(modality: str) -> tuple[str, ...]:
    """The spoken names of a modality, the one for structured prompts first.

    Args:
        modality: A DICOM code or any name; an unknown name is returned as it is.
    """
    code = modality_code(modality)
    if code is None:
        return (modality.strip(),)
    entry: dict[str, Any] = load_table("modalities")["modalities"][code]
    return (entry["name"], *entry["synonyms"])


def implied_body_parts(modality: str) -> tuple[str, ...]:
    """Body parts that a modality's name says already: `retina` for a fundus photograph, `breast` for mammography."""
    code = modality_code(modality)
    return tuple(load_table("modalities")["modalities"][code]["implies"]) if code else ()


def view_names(view: str) -> tuple[str, ...]:
    """The spoken names of a view code, the usual one first; an unknown view is returned in lower case.

    Examples:
        >>> view_names("AP")[0], view_names("swimmer's")
        ('anteroposterior', ("swimmer's",))
    """
    code = view.strip().upper().replace("_", " ")
    entry = load_table("modalities")["views"].get(code)
    return (entry["name"], *entry["synonyms"]) if entry else (view.strip().replace("_", " ").lower(),)


def body_part_name(body_part: str) -> str:
    """A body part in lower case words, from free text or from DICOM Body Part Examined.

    Examples:
        >>> body_part_name("LSPINE"), body_part_name("CHEST"), body_part_name("Blood_smear")
        ('lumbar spine', 'chest', 'blood smear')
    """
    cleaned = re.sub(r"[\s_]+", " ", body_part).strip()
    return _BODY_PARTS.get(cleaned.upper(), cleaned.lower())
