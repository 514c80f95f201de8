"""Words for what a picture shows: body parts, planes, sequences, contrast, windows, findings, and whole kinds of image.

Sentences that a model is trained with and sentences that it is asked with come from here, so that what a person types
("cranial CT", "broken bone", "colonoscopy frame") is near what the model has seen. `data/vocabulary.json` holds them.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vesalius.text.modalities import body_part_name, modality_code, modality_names, view_names
from vesalius.text.tables import load_table

#: DICOM codes that no words tell apart.
SAME_MODALITY: Mapping[str, str] = {"CR": "DX", "RG": "DX"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a class label says.

    Args:
        part: Body part that it places, or "".
        facts: Findings that it says are there (True) or not (False); empty where it only names a kind of image.
    """

    part: str
    facts: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a caption states about a picture's kind; "" leaves it open.

    Args:
        modality: DICOM code or name.
        part: Body part, a name of `parts()`, or any words.
        plane: `axial`, `coronal` or `sagittal`.
        sequence: MR sequence (`T1`, `T2`, `FLAIR`, ...).
        contrast: `with` or `without` a contrast medium.
        window: `brain`, `bone`, `lung` or `soft tissue`.
        view: View code of a projection (`PA`, `CC`, ...).
    """

    modality: str = ""
    part: str = ""
    plane: str = ""
    sequence: str = ""
    contrast: str = ""
    window: str = ""
    view: str = ""


def parts() -> tuple[str, ...]:
    """All body parts of the table."""
    return tuple(_table("parts"))


def part_named(text: str) -> str:
    """The body part of the table that words or a DICOM term name, "" when none does.

    Examples:
        >>> part_named("Thorax"), part_named("renal"), part_named("LSPINE"), part_named("moon")
        ('chest', 'kidney', 'lumbar spine', '')
    """
    return _part_by_word().get(body_part_name(text), "")


def part_words(part: str) -> tuple[str, ...]:
    """Nouns for a body part, the usual one first; a part that the table lacks is its own word."""
    entry = _table("parts").get(part)
    return tuple(entry["words"]) if entry else (part,)


def part_adjectives(part: str) -> tuple[str, ...]:
    """Words that stand before a modality: `cranial` CT, `cardiac` MRI."""
    entry = _table("parts").get(part)
    return tuple(entry["adjectives"]) if entry else (part,)


def parts_shown(part: str) -> frozenset[str]:
    """A body part and the larger ones that a picture of it also shows: the prostate is shown with the pelvis."""
    entry = _table("parts").get(part)
    return frozenset({part, *entry["also"]}) if entry else frozenset({part} - {""})


def parts_unsure(part: str) -> frozenset[str]:
    """Body parts of which nobody can say whether a picture of `part` shows them.

    Those named in the table, and every part that lies in this one: a picture of the chest may be of the aorta.
    """
    entry = _table("parts").get(part)
    inside = {name for name, other in _table("parts").items() if part in other["also"]}
    return frozenset((inside | set(entry["unsure"] if entry else ())) - parts_shown(part))


def modality_words(modality: str) -> tuple[str, ...]:
    """All spoken names of a modality: those of prompts and more."""
    code = SAME_MODALITY.get(modality_code(modality) or "", modality_code(modality) or "")
    return tuple(dict.fromkeys((*modality_names(code or modality), *_table("modalities").get(code, ()))))


def kind_words(modality: str, part: str) -> tuple[str, ...]:
    """Names that say modality and body part at once.

    Examples:
        >>> kind_words("ES", "colon")[0], kind_words("DX", "liver")
        ('colonoscopy frame', ())
    """
    code = SAME_MODALITY.get(modality_code(modality) or "", modality_code(modality) or "")
    return next((tuple(words) for m, p, words in load_table("vocabulary")["kinds"] if (m, p) == (code, part)), ())


def plane_words(plane: str) -> tuple[str, ...]:
    """Words for a plane of a slice; the transverse plane is the axial one."""
    name = {"transverse": "axial"}.get(plane.lower(), plane.lower())
    return tuple(_table("planes").get(name, (name,)))


def sequence_words(sequence: str) -> tuple[str, ...]:
    """Words for an MR sequence."""
    return tuple(_table("sequences").get(sequence, (sequence,)))


def contrast_words(contrast: str) -> tuple[str, ...]:
    """Words for `with` and `without` a contrast medium."""
    return tuple(_table("contrast").get(contrast, ()))


def window_words(window: str) -> tuple[str, ...]:
    """Words for a window of CT."""
    return tuple(_table("windows").get(window, (f"{window} window",)))


def finding_words(name: str) -> tuple[str, ...]:
    """How a finding or class is said, by laypeople and radiologists; empty where the table has no words for it."""
    return tuple(_table("findings").get(name, ()))


def meaning(label: str) -> Meaning:
    """What a class label says: `no fracture` denies one, `glioma` is a brain tumour, `HeadCT` is no finding at all.

    A label that the table lacks is a finding of its own name.

    Examples:
        >>> meaning("no fracture").facts, meaning("glioma").facts["brain tumour"], meaning("AbdomenCT").part
        ({'fracture': False}, True, 'abdomen')
    """
    entry = _table("classes").get(label)
    if entry is None:
        return Meaning("", {label: True})
    facts: dict[str, bool] = {}
    if "finding" in entry:
        facts[entry["finding"]] = not entry.get("absent", False)
    facts |= dict.fromkeys(entry.get("implies", ()), True)
    facts |= dict.fromkeys(entry.get("denies", ()), False)
    return Meaning(entry.get("part", ""), facts)


def say_kind(kind: Kind, rng: random.Random) -> str:
    """One way to say what a picture is, in a noun phrase; words and their order are drawn.

    Args:
        kind: What is to be said. Everything that is not "" is in the phrase.
        rng: Source of the draws.

    Returns:
        Such as `axial T2-weighted MRI of the prostate`, `unenhanced cranial CT, bone window`, `colonoscopy frame`.
    """
    whole = kind_words(kind.modality, kind.part) if kind.modality and kind.part else ()
    before: list[str] = []
    after: list[str] = []
    if kind.contrast:
        words = rng.choice(contrast_words(kind.contrast) or ("",))
        (after if words.startswith(("with", "after")) else before).append(words)
    if kind.plane:
        words = rng.choice(plane_words(kind.plane))
        if rng.random() < 0.6:
            before.append(words)
        else:
            after.append(f"{words} {rng.choice(('slice', 'plane', 'section', 'view'))}")
    if kind.view:
        words = rng.choice(view_names(kind.view))
        if rng.random() < 0.5:
            before.append(words)
        else:
            after.append(f"{words} {rng.choice(('view', 'projection'))}")
    if kind.sequence:
        before.append(rng.choice(sequence_words(kind.sequence)))
    if kind.window:
        after.append(rng.choice(window_words(kind.window)))
    if whole and rng.random() < 0.4:
        core = rng.choice(whole)
    else:
        name = rng.choice(modality_words(kind.modality)) if kind.modality else rng.choice(_ANY)
        if not kind.part:
            core = name
        elif rng.random() < 0.45:
            core = f"{rng.choice(part_adjectives(kind.part))} {name}"
        else:
            core = f"{name} of the {rng.choice(part_words(kind.part))}"
    rng.shuffle(after)
    return ", ".join(part for part in (" ".join((*(w for w in before if w), core)), *after) if part)


def drop_some(kind: Kind, rng: random.Random, keep: float = 0.5) -> Kind:
    """The same kind with parts left open at random, never all of them: words then work alone and in new company."""
    said = {name: value for name in Kind.__dataclass_fields__ if (value := getattr(kind, name))}
    if not said:
        return kind
    chosen = [name for name in said if rng.random() < keep] or [rng.choice(sorted(said))]
    return Kind(**{name: said[name] for name in chosen})


#: Sentences for the class "none of these", where a list of classes has one.
NONE_OF_THESE = (
    "none of these",
    "something else",
    "another kind of image",
    "an image that shows none of these",
    "not a medical image",
)
_ANY = ("medical image", "scan", "picture", "image")


def _table(name: str) -> Mapping[str, Any]:
    table: Mapping[str, Any] = load_table("vocabulary")[name]
    return table


@functools.cache
def _part_by_word() -> dict[str, str]:
    """Every noun, then every adjective -> part; the first to claim a word keeps it, a part's own name comes first."""
    found = {name: name for name in _table("parts")}
    for key in ("words", "adjectives"):
        for name, entry in _table("parts").items():
            for word in entry[key]:
                found.setdefault(word.lower(), name)
    return found
