"""Concept banks: for each class, the signs by which it is told, as short phrases; read, asked for, and cleaned.

A bank is plain data, `{"class": ["sign", ...]}`. What a bottleneck may stand on is decided by words here and not by
training: a phrase that names a class, or that is about who the patient is or where the image was taken, is dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, MissingError
from vesalius.text.modalities import modality_names
from vesalius.text.prompts import clean_label, is_normal_label

#: Longest concept in words.
MOST_WORDS = 8
#: Cosine of two concepts' text vectors above which the later one says nothing new.
SAME = 0.95
#: A file or a reply larger than this is not a list of phrases.
_MOST_BYTES = 1_000_000
_MOST_CONCEPTS = 2_000
#: Words about the patient, the place or the device: true of groups of patients and not of disease.
_SPURIOUS = re.compile(
    r"\b(fe)?males?\b|\b(wo)?m[ae]n\b|\b(boy|girl|child|children|infant|newborn|adult|elderly|aged?|ages|years?|"
    r"year-old|old|young|sex|gender|race|ethnic\w*|hospitals?|clinics?|wards?|icu|sites?|centres?|centers?|"
    r"scanners?|devices?|portable|bedside|markers?|tags?|tokens?|stickers?|rulers?|"
    r"ap|pa|anteroposterior|posteroanterior|projection)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*(?:[-*•·–]|\(?\d{1,3}[.):]|[a-z][.)])\s*", re.IGNORECASE)


@dataclass(frozen=True)
class ConceptBank:
    """Classes and their signs.

    Args:
        classes: Class to its phrases.

    Raises:
        BadInputError: There is no phrase, or something is not text.
    """

    classes: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if not any(self.classes.values()):
            raise BadInputError("concept bank is empty", item=", ".join(self.classes) or "no class")
        if sum(map(len, self.classes.values())) > _MOST_CONCEPTS:
            raise BadInputError("concept bank is too large", why=f"more than {_MOST_CONCEPTS} phrases")

    @property
    def concepts(self) -> tuple[str, ...]:
        """Every phrase once, in order."""
        return tuple(dict.fromkeys(p for phrases in self.classes.values() for p in phrases))

    def without(self, phrases: Sequence[str]) -> ConceptBank:
        """A bank that lacks some phrases."""
        gone = set(phrases)
        return ConceptBank({k: tuple(p for p in v if p not in gone) for k, v in self.classes.items()})

    def to_json(self) -> str:
        """The JSON form."""
        return json.dumps({k: list(v) for k, v in self.classes.items()}, indent=1, ensure_ascii=False) + "\n"


def read_bank(path: Path) -> ConceptBank:
    """A bank from a `.json` file, or from a text file with one phrase a line (one class, "").

    Raises:
        MissingError: The file is not there.
        BadInputError: It is not a bank.
    """
    if not path.is_file():
        raise MissingError("there is no such concept file", item=str(path))
    if path.stat().st_size > _MOST_BYTES:
        raise BadInputError("concept file is too large", item=str(path), why=f"more than {_MOST_BYTES} bytes")
    try:
        text = path.read_text("utf-8-sig")
        data = json.loads(text) if path.suffix.lower() == ".json" else {"": text.splitlines()}
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise BadInputError("cannot read concept file", item=str(path), why=str(error)[:200]) from error
    if not isinstance(data, dict) or not all(
        isinstance(v, list) and all(isinstance(p, str) for p in v) for v in data.values()
    ):
        raise BadInputError(
            "not a concept bank", item=str(path), why='the form is {"class": ["phrase", ...]}, or one phrase a line'
        )
    return ConceptBank({clean_label(k): _phrases(v) for k, v in data.items()})


def curated_bank(classes: Sequence[str], modality: str) -> ConceptBank:
    """The bank that comes with this package, for classes of one kind of image.

    Args:
        classes: Class names in words.
        modality: DICOM code of the images.

    Raises:
        MissingError: It has no signs of a class; the message says which it knows.
    """
    known = _curated().get("DX" if modality == "CR" else modality, {})
    found: dict[str, tuple[str, ...]] = {}
    for name in map(clean_label, classes):
        # A finding goes by its name with or without the organ: "pleural effusion", "effusion".
        key = next((k for k in (name, *name.split()[-1:]) if k in known), None)
        key = "no finding" if key is None and is_normal_label(name) and "no finding" in known else key
        if key is None:
            raise MissingError(
                "no concepts for a class", item=f"{name} ({modality or 'no modality'})",
                why=f"known: {', '.join(sorted(known)) or 'none of this modality'}",
                fix="give a concept bank, or an openai: endpoint that writes one",
            )  # fmt: skip
        found[name] = known[key]
    return ConceptBank(found)


@cache
def _curated() -> dict[str, dict[str, tuple[str, ...]]]:
    data = json.loads(Path(__file__).with_name("data").joinpath("concepts.json").read_text("utf-8"))
    return {m: {k: tuple(v) for k, v in kinds.items()} for m, kinds in data.items() if m != "comment"}


def ask_for_concepts(ask: Callable[[str], str], classes: Sequence[str], modality: str = "") -> ConceptBank:
    """A bank written by a language model, one question a class; not yet cleaned.

    Args:
        ask: From a question to the reply, such as `models.openai_chat.OpenAIChat.ask`.
        classes: Class names in words.
        modality: DICOM code of the images, if known.
    """
    kind = modality_names(modality)[0] if modality else "medical image"
    return ConceptBank({
        name: parse_phrases(ask(
            f"List the visual features by which a reader tells {name} on a {kind}. One short noun phrase of at most "
            f"{MOST_WORDS} words a line, no numbering, without the name itself, and nothing about age, sex or hospital."
        ))
        for name in map(clean_label, classes)
    })  # fmt: skip


def parse_phrases(reply: str) -> tuple[str, ...]:
    r"""Phrases of a model's reply: one a line, bullets, quotes and control characters taken off.

    Examples:
        >>> parse_phrases("Sure! Features:\n1. Blunted angle.\n- 'White band'")
        ('blunted angle', 'white band')
    """
    lines = [_BULLET.sub("", line) for line in reply[:_MOST_BYTES].splitlines() if not line.rstrip().endswith(":")]
    return _phrases(lines)


def _phrases(lines: Sequence[str]) -> tuple[str, ...]:
    cleaned = (clean_label(line.strip("\"'“”`*.,; \t")) for line in lines)
    return tuple(dict.fromkeys(p for p in cleaned if p))


def clean_bank(bank: ConceptBank, classes: Sequence[str]) -> tuple[ConceptBank, dict[str, str]]:
    """Drop what a bottleneck must not stand on.

    Args:
        bank: Phrases of each class.
        classes: Class names, none of which may be said; names for "normal" are ordinary words and may.

    Returns:
        The bank, and each dropped phrase with the reason.
    """
    named = [
        re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
        for name in map(clean_label, classes)
        if name and not is_normal_label(name)
    ]
    dropped: dict[str, str] = {}
    for phrase in bank.concepts:
        if any(pattern.search(phrase) for pattern in named):
            dropped[phrase] = "names a class"
        elif said := _SPURIOUS.search(phrase):
            dropped[phrase] = f"is about the patient, the place or the device ({said.group().lower()})"
        elif len(phrase.split()) > MOST_WORDS:
            dropped[phrase] = f"has more than {MOST_WORDS} words"
    return bank.without(list(dropped)), dropped


def drop_alike(
    bank: ConceptBank, vectors: npt.NDArray[np.float32], same: float = SAME
) -> tuple[ConceptBank, dict[str, str]]:
    """Drop each phrase whose text vector is nearly that of one kept before it.

    Args:
        bank: The bank.
        vectors: `(n, d)` unit vectors of `bank.concepts`.
        same: Cosine above which two phrases are one.
    """
    names = bank.concepts
    kept: list[int] = []
    dropped: dict[str, str] = {}
    for i in range(len(names)):
        close = [k for k in kept if float(vectors[i] @ vectors[k]) > same]
        if close:
            dropped[names[i]] = f"says the same as {names[close[0]]!r}"
        else:
            kept.append(i)
    return bank.without(list(dropped)), dropped
