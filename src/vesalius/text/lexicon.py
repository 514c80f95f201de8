"""Findings, and the words for side, place, severity, change and size; English and Chinese, from JSON tables.

`data/findings.json` can be extended: `Lexicon(extra=[...])` takes further entries of the same form.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vesalius.errors import BadInputError
from vesalius.text.tables import load_table
from vesalius.text.tokens import Match, Phrases, Token

#: The 14 categories of CheXpert (Irvin et al. 2019), in their published order.
CHEXPERT: tuple[str, ...] = tuple(load_table("findings")["chexpert"])

#: No real finding is larger than this; a greater number is a mistake or a distance.
_LARGEST_MM = 500.0
_NUMBER = r"\d+(?:\.\d+)?"
_SIZE = re.compile(
    rf"(?<![A-Za-z0-9_.])(?P<numbers>{_NUMBER}(?:\s*(?:cm|mm)?\s*(?:[x×*-]|by|to|至|乘)\s*{_NUMBER}){{0,2}})\s*-?\s*"
    r"(?P<unit>mm|cm|millimeters?|centimeters?|millimetres?|centimetres?|毫米|厘米)(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry of the lexicon.

    Attributes:
        id: Stable identifier (`pleural_effusion`).
        name: Name for people.
        body_part: Region it belongs to, or `any`.
        kind: `finding`, `device`, `procedure` or `summary` (a general statement such as "acute disease").
        chexpert: The CheXpert category that a mention counts for, or "".
        parents: Ids of more general findings.
        synonyms: Words by language code.
        pairs: Anatomy words with the words that make them abnormal, normal or borderline.
        lasting: True for what does not pass: a *previous* fracture is still a finding.
    """

    id: str
    name: str
    body_part: str = "any"
    kind: str = "finding"
    chexpert: str = ""
    parents: tuple[str, ...] = ()
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    lasting: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Read an entry of `findings.json`; raises `BadInputError` when it has no id, name or words."""
        if not data.get("id") or not data.get("name") or not (data.get("en") or data.get("zh") or data.get("pairs")):
            raise BadInputError(
                "cannot use finding", item=str(data.get("id", "?")), why="it needs id, name and at least one phrase"
            )
        return cls(
            id=data["id"],
            name=data["name"],
            body_part=data.get("body_part", "any"),
            kind=data.get("kind", "finding"),
            chexpert=data.get("chexpert", ""),
            parents=tuple(data.get("parents", ())),
            synonyms={code: tuple(data.get(code, ())) for code in ("en", "zh")},
            pairs=tuple({k: tuple(v) for k, v in pair.items()} for pair in data.get("pairs", ())),
            lasting=bool(data.get("lasting", False)),
        )


class Lexicon:
    """All findings, with matchers built once.

    Args:
        extra: Further entries in the form of `findings.json`; an id that exists already replaces that entry.

    Raises:
        BadInputError: For an entry without id, name or words, or with an unknown parent.

    Examples:
        >>> Lexicon().findings["pneumothorax"].name
        'Pneumothorax'
        >>> odd = {"id": "ground_glass_halo", "name": "Halo", "en": ["halo sign"], "parents": ["lung_opacity"]}
        >>> Lexicon([odd]).ancestors("ground_glass_halo")
        ('lung_opacity',)
    """

    def __init__(self, extra: Sequence[Mapping[str, Any]] = ()) -> None:
        entries = [Finding.from_dict(e) for e in (*load_table("findings")["findings"], *extra)]
        self.findings: dict[str, Finding] = {entry.id: entry for entry in entries}
        for entry in self.findings.values():
            unknown = [p for p in entry.parents if p not in self.findings]
            if unknown:
                raise BadInputError("cannot use finding", item=entry.id, why=f"unknown parent {unknown[0]!r}")
        words: dict[str, list[str]] = {}
        for entry in self.findings.values():
            for phrase in (p for phrases in entry.synonyms.values() for p in phrases):
                words.setdefault(phrase, []).append(entry.id)
        self._phrases = Phrases((phrase, "|".join(ids)) for phrase, ids in words.items())
        self._anatomy = Phrases(_pair_words(self.findings, "anatomy"))
        self._states = Phrases(
            entry for role in ("abnormal", "normal", "borderline") for entry in _pair_words(self.findings, role)
        )

    def ancestors(self, finding: str) -> tuple[str, ...]:
        """Ids of all more general findings, nearest first."""
        found: list[str] = []
        queue = list(self.findings[finding].parents)
        while queue:
            parent = queue.pop(0)
            if parent not in found:
                found.append(parent)
                queue.extend(self.findings[parent].parents)
        return tuple(found)

    def match(self, tokens: Sequence[Token]) -> list[Match]:
        """Findings named by a phrase; `Match.value` is one id or several joined by `|`."""
        return self._phrases.find(tokens)

    def match_anatomy(self, tokens: Sequence[Token]) -> list[Match]:
        """Anatomy words that belong to a pair; the value lists `finding:pair` keys joined by `|`."""
        return self._anatomy.find(tokens)

    def match_states(self, tokens: Sequence[Token]) -> list[Match]:
        """Words that judge an anatomy word; values are `finding:pair:abnormal|normal|borderline`, joined by `|`."""
        return self._states.find(tokens)


@functools.cache
def default_lexicon() -> Lexicon:
    """The shipped lexicon."""
    return Lexicon()


def match_attributes(tokens: Sequence[Token], kind: str) -> list[Match]:
    """Words for one kind of attribute.

    Args:
        tokens: Tokens of a sentence.
        kind: `side`, `severity`, `change` or `location`.

    Returns:
        Matches whose value is the normal form (`left`, `mild`, `worse`, `lower lobe`).
    """
    return _attribute_phrases(kind).find(tokens)


def sizes_mm(text: str) -> list[tuple[int, int, float]]:
    """Sizes in a text.

    Args:
        text: A sentence.

    Returns:
        `(start, end, millimetres)` for each size; of several dimensions or of a range the largest.

    Examples:
        >>> sizes_mm("A 1.2 x 0.8 cm nodule and a 5-mm one")
        [(2, 14, 12.0), (28, 32, 5.0)]
    """
    found = []
    for match in _SIZE.finditer(text):
        factor = 10.0 if match.group("unit").lower()[0] == "c" or match.group("unit") == "厘米" else 1.0
        largest = max(float(n) for n in re.findall(_NUMBER, match.group("numbers"))) * factor
        if 0 < largest <= _LARGEST_MM:
            found.append((match.start(), match.end(), round(largest, 3)))
    return found


@functools.cache
def _attribute_phrases(kind: str) -> Phrases:
    table: dict[str, list[str]] = load_table("attributes")[kind]
    return Phrases((phrase, name) for name, phrases in table.items() for phrase in phrases)


def _pair_words(findings: Mapping[str, Finding], role: str) -> list[tuple[str, str]]:
    """Phrases of one role with the pairs they belong to."""
    words: dict[str, list[str]] = {}
    for entry in findings.values():
        for index, pair in enumerate(entry.pairs):
            for phrase in pair.get(role, ()):
                key = f"{entry.id}:{index}" if role == "anatomy" else f"{entry.id}:{index}:{role}"
                words.setdefault(phrase, []).append(key)
    return [(phrase, "|".join(keys)) for phrase, keys in words.items()]
