"""Words with their places in the text, and the small inflection table that joins plural and singular."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Vowel signs of Devanagari and Arabic marks are not \w, yet belong to their word.
_MARKS = "\u0300-\u036f\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f\u0951-\u0957"
_TOKEN = re.compile(
    rf"\d+(?:[.,]\d+)*|[{_CJK}]|(?:(?![{_CJK}])[^\W\d_])(?:(?![{_CJK}])[^\W\d_]|[{_MARKS}]|['’](?=[^\W\d_]))*|[^\w\s]|_"
)
_CJK_CHAR = re.compile(f"[{_CJK}]")

_IRREGULAR = {
    "atelectases": "atelectasis",
    "metastases": "metastasis",
    "diagnoses": "diagnosis",
    "stenoses": "stenosis",
    "thromboses": "thrombosis",
    "bullae": "bulla",
    "vertebrae": "vertebra",
    "hila": "hilum",
    "apices": "apex",
    "bronchi": "bronchus",
    "calculi": "calculus",
    "emboli": "embolus",
    "thrombi": "thrombus",
    "foci": "focus",
    "naevi": "nevus",
    "nevi": "nevus",
    "naevus": "nevus",
    "carcinomata": "carcinoma",
    "teeth": "tooth",
    "ossa": "os",
    "caries": "caries",
    "series": "series",
    "lens": "lens",
    "pus": "pus",
    "oedema": "edema",
    "haemorrhage": "hemorrhage",
    "haemorrhages": "hemorrhage",
    "haemorrhagic": "hemorrhagic",
    "haematoma": "hematoma",
    "haemothorax": "hemothorax",
    "tumour": "tumor",
    "tumours": "tumor",
    "fibre": "fiber",
    "ischaemic": "ischemic",
    "ischaemia": "ischemia",
    "anaemia": "anemia",
    "oesophagus": "esophagus",
    "oesophagitis": "esophagitis",
    "centre": "center",
    "can't": "cannot",
    "isn't": "not",
    "aren't": "not",
    "doesn't": "not",
    "wasn't": "not",
    "don't": "not",
    "hasn't": "not",
    "haven't": "not",
}


class Token(NamedTuple):
    """One word, number, CJK character or punctuation mark.

    Attributes:
        text: As written.
        lemma: Lower case, plural removed; what tables are matched with.
        start: Offset of its first character.
        end: Offset after its last character.
    """

    text: str
    lemma: str
    start: int
    end: int


@functools.lru_cache(maxsize=65536)
def lemma(word: str) -> str:
    """Lower case, British spelling to American and plural to singular for the words of reports.

    Examples:
        >>> [lemma(w) for w in ("Opacities", "masses", "effusions", "atelectasis", "Haemorrhages")]
        ['opacity', 'mass', 'effusion', 'atelectasis', 'hemorrhage']
    """
    low = word.lower().replace("’", "'")
    if low in _IRREGULAR:
        return _IRREGULAR[low]
    if len(low) > 4 and low.endswith("ies"):
        return low[:-3] + "y"
    if len(low) > 4 and low.endswith(("sses", "xes", "ches", "shes", "zes")):
        return low[:-2]
    if len(low) > 3 and low.endswith("s") and not low.endswith(("ss", "us", "is", "'s")):
        return low[:-1]
    return low.removesuffix("'s") or low


def tokenize(text: str, offset: int = 0) -> tuple[Token, ...]:
    """Split text into tokens; hyphens and slashes are tokens of their own, decimals stay whole.

    Args:
        text: Any text.
        offset: Added to all places, for text that is a part of a longer one.

    Examples:
        >>> [t.text for t in tokenize("A 1.5-cm nodule.")]
        ['A', '1.5', '-', 'cm', 'nodule', '.']
        >>> [t.text for t in tokenize("未见pneumothorax")]
        ['未', '见', 'pneumothorax']
    """
    return tuple(
        Token(m.group(), lemma(m.group()), m.start() + offset, m.end() + offset) for m in _TOKEN.finditer(text)
    )


def is_chinese(text: str) -> bool:
    """True when at least one letter in five is a Chinese character (reports mix in Latin short forms)."""
    sample = text[:20000]
    letters = sum(c.isalpha() for c in sample)
    return letters > 0 and len(_CJK_CHAR.findall(sample)) * 5 >= letters


class Match(NamedTuple):
    """A table entry found in a token sequence: tokens `first` to `last` (not included)."""

    first: int
    last: int
    value: str


class Phrases:
    """Finds many phrases in one pass: at each token the longest phrase that starts there.

    Hyphens inside text and phrase are ignored, so "ground-glass" finds "ground glass". The time is linear in the
    number of tokens (times the longest phrase).

    Args:
        phrases: Pairs of phrase and the value it stands for; values of phrases that differ only in inflection are
            joined by `|`. The end of a phrase can be `<end>`: end of sentence or
            a comma, semicolon or full stop.
    """

    def __init__(self, phrases: Iterable[tuple[str, str]]) -> None:
        merged: dict[tuple[str, ...], list[str]] = {}
        for phrase, value in phrases:
            ends = phrase.endswith("<end>")
            words = tuple(t.lemma for t in tokenize(phrase.removesuffix("<end>")) if t.text != "-" or phrase[0] == "-")
            merged.setdefault((*words, "<end>") if ends else words, []).extend(value.split("|"))
        self._by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for key, values in merged.items():
            self._by_first.setdefault(key[0], []).append((key, "|".join(dict.fromkeys(values))))
        for entries in self._by_first.values():
            entries.sort(key=lambda entry: -len(entry[0]))

    def find(self, tokens: Sequence[Token]) -> list[Match]:
        """All matches from left to right, none overlapping another."""
        found: list[Match] = []
        at = 0
        while at < len(tokens):
            match = self._longest(tokens, at)
            if match:
                found.append(match)
                at = match.last
            else:
                at += 1
        return found

    def _longest(self, tokens: Sequence[Token], at: int) -> Match | None:
        for words, value in self._by_first.get(tokens[at].lemma, ()):
            last = _follows(tokens, at, words)
            if last is not None:
                return Match(at, last, value)
        return None


def _follows(tokens: Sequence[Token], at: int, words: tuple[str, ...]) -> int | None:
    """The place after `words` when they stand at `at`, else `None`; hyphens between words are stepped over."""
    place = at
    for index, word in enumerate(words):
        if index and place < len(tokens) and tokens[place].text == "-" and word != "-":
            place += 1
        if word == "<end>":
            return (
                place if place >= len(tokens) or tokens[place].text in {".", ",", ";", "。", "，", "；", ")"} else None
            )
        if place >= len(tokens) or tokens[place].lemma != word:
            return None
        place += 1
    return place
