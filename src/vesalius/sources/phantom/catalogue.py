"""What the phantom can show: studies and their findings, in two languages, read from `catalogue.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE_WORDS = ("small", "moderate", "large")
GRADE_WORDS = ("mild", "moderate", "severe")
_WORDS = {"size": SIZE_WORDS, "grade": GRADE_WORDS}


@dataclass(frozen=True, slots=True)
class FindingSpec:
    """One kind of finding.

    Args:
        name: English name, also the label's name.
        zh: Chinese name.
        prevalence: Default probability that it is present.
        organ: Label of the organ part that holds it, "" where none is drawn.
        sign: What it looks like (density, shape), for rationales and definitions.
        sides: Sides to choose from, each equally likely; empty where it has none.
        zones: Zones to choose from.
        size: Smallest and largest size in mm, or None.
        count: Fewest and most lesions, or None when it is one thing.
        words: Words for the three severities.
        turnover: How fast it comes and goes between visits (0 never, 1 quickly).
        where: How the place is said: `{side}`, `{zone}` are filled in.
        where_zh: The same in Chinese.
        plural: The name for more than one, where `count` is given.
        counted: What `count` counts, where neither the name nor its plural says so.
        plural_name: The name itself is a plural, of which a count can be said.
        mass_noun: The name takes no article.
        measured: Its size is said in mm.
    """

    name: str
    zh: str
    prevalence: float
    organ: str
    sign: str
    sides: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    size: tuple[float, float] | None = None
    count: tuple[int, int] | None = None
    words: tuple[str, str, str] = GRADE_WORDS
    turnover: float = 0.6
    where: str = ""
    where_zh: str = ""
    plural: str = ""
    counted: str = ""
    plural_name: bool = False
    mass_noun: bool = False
    measured: bool = False


@dataclass(frozen=True, slots=True)
class StudySpec:
    """One kind of study.

    Args:
        name: Key.
        modality: DICOM modality code of its images.
        title: What it is called in words.
        zh: The same in Chinese.
        body_part: What is imaged.
        findings: Names of the findings it can show.
        normal: Sentences for what is normal.
        normal_zh: The same in Chinese.
        sex: The only sex it is drawn for, "" for both.
    """

    name: str
    modality: str
    title: str
    zh: str
    body_part: str
    findings: tuple[str, ...]
    normal: tuple[str, ...]
    normal_zh: tuple[str, ...]
    sex: str = ""


def _finding(row: Mapping[str, Any]) -> FindingSpec:
    fields: dict[str, Any] = {k: _WORDS[v] if k == "words" else _frozen(v) for k, v in row.items()}
    return FindingSpec(**fields)


def _study(row: Mapping[str, Any]) -> StudySpec:
    return StudySpec(**{k: _frozen(v) for k, v in row.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_TABLES = json.loads(Path(__file__).with_name("catalogue.json").read_text("utf-8"))
FINDINGS: dict[str, FindingSpec] = {row["name"]: _finding(row) for row in _TABLES["findings"]}
STUDIES: dict[str, StudySpec] = {row["name"]: _study(row) for row in _TABLES["studies"]}
ZH_WORDS: dict[str, str] = _TABLES["zh"]
#: Body part to how a patient says it in Hindi-English, and in English.
PATIENT_HINDI: dict[str, tuple[str, str]] = {k: (v[0], v[1]) for k, v in _TABLES["patient_hindi"].items()}
