"""Sentences of reports: they survive abbreviations, decimals, enumerations, wrapped lines and missing full stops."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

_ABBREVIATIONS = re.compile(
    r"(?i:dr|mrs?|ms|prof|st|vs|approx|etc|e\.g|i\.e|eg|ie|cf|figs?|nos?|ca|al|ant|post|lat|inf|sup|lt|rt|resp|incl|max|min|avg"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|dept|hosp|pts?|hx|dx|fx|tx|rx|a\.m|p\.m)"
)
_ENDS = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|(?<=[a-z])\.(?=[A-Z][a-z])|[。！？；;]|\n")
_ITEM = re.compile(r"[ \t]*(?:[-*•‣·▪–]|\(?\d{1,2}[.)、]|[a-zA-Z][.)])[ \t]*(?=\S)")
_INLINE_NUMBER = re.compile(r"(?:(?<=\s)|^)\(?(\d{1,2})[.)]\s+(?=[A-Z])", re.MULTILINE)
_OPEN_LIST = re.compile(r"\b(?:no|without|negative|absent|denies|free of)\b[^.:\n]*:\s*$", re.IGNORECASE)
_HEADER_LINE = re.compile(r"[A-Z][A-Za-z /()]{2,40}:")
_WRAP = 55  # a line at least this long that ends without punctuation was wrapped by an editor
_LONGEST = 2000  # characters; longer "sentences" are cut at a space so that all later work stays linear


class Sentence(NamedTuple):
    """A sentence and its place in the whole text."""

    text: str
    start: int
    end: int


def split_sentences(text: str) -> tuple[Sentence, ...]:
    """Split a report, or a part of one, into sentences.

    Args:
        text: Any text, English or Chinese.

    Returns:
        Sentences in order, stripped, `text[s.start:s.end] == s.text`; pieces without a letter are left out.

    Examples:
        >>> [s.text for s in split_sentences("1. Nodule of 1.5 cm in the r. lung. 2. No effusion, e.g. pleural.")]
        ['1. Nodule of 1.5 cm in the r. lung.', '2. No effusion, e.g. pleural.']
    """
    numbers = _enumeration(text)
    cuts = {0, len(text), *numbers}
    for match in _ENDS.finditer(text):
        if match.group() == "\n":
            if _breaks_line(text, match.start()):
                cuts.add(match.end())
        elif not _is_inside(text, match, numbers):
            cuts.add(match.end())
    edges = sorted(cuts)
    sentences: list[Sentence] = []
    for start, end in itertools.pairwise(edges):
        sentences.extend(_pieces(text, start, end))
    return tuple(sentences)


def _enumeration(text: str) -> set[int]:
    """Starts of the items of lists numbered 1, 2, 3 ... inside running text."""
    starts, expected = set(), 1
    for match in _INLINE_NUMBER.finditer(text):
        number = int(match.group(1))
        if number == expected or number == 1:
            starts.add(match.start())
            expected = number + 1
    return starts


def _is_inside(text: str, match: re.Match[str], numbers: set[int]) -> bool:
    """True when a full stop belongs to an abbreviation, an initial or a list number."""
    if match.group()[0] != ".":
        return False
    window = text[max(match.start() - 40, 0) : match.start()].rpartition("\n")[2]
    token = (window.split() or [""])[-1].lstrip("(\"'") if window[-1:].strip() else ""
    place = match.start() - len(token)
    if token.isdigit():
        opening = window[: len(window) - len(token)].strip()
        return place in numbers or (not opening and len(token) <= 2)
    after = text[match.end() : match.end() + 3].lstrip()
    if _ABBREVIATIONS.fullmatch(token):
        # "No." and "post." also end sentences: they are short forms only before a digit or a small letter.
        return not after or not after[0].isupper() or token.lower() in {"dr", "mr", "mrs", "ms", "prof", "vs"}
    return len(token) == 1 and token.isalpha() and bool(after) and not after[0].isspace()


def _breaks_line(text: str, at: int) -> bool:
    """True when a line break ends a sentence: a blank line, a list item, a header, or a short line."""
    before = text[max(at - 200, 0) : at].rpartition("\n")[2].rstrip()
    after = text[at + 1 : at + 80]
    following = after.lstrip(" \t\r")
    if not following or following[0] == "\n" or not before:
        return True
    if _ITEM.match(after):
        return not _OPEN_LIST.search(before) and not _continues_open_list(text, at)
    if before.endswith(":") or _HEADER_LINE.match(following):
        return True
    return following[0].isupper() and len(before) < _WRAP


def _continues_open_list(text: str, at: int) -> bool:
    """True for the later items of a list opened by "No evidence of:"."""
    for line in reversed(text[max(0, at - 600) : at].split("\n")[:-1]):
        if _ITEM.match(line):
            continue
        return bool(_OPEN_LIST.search(line))
    return False


def _pieces(text: str, start: int, end: int) -> list[Sentence]:
    """The stripped sentence(s) of a range, cut where it is longer than anyone writes."""
    pieces = []
    while start < end:
        stop = end
        if end - start > _LONGEST:
            space = text.rfind(" ", start + _LONGEST // 2, start + _LONGEST)
            stop = space if space > start else start + _LONGEST
        chunk = text[start:stop]
        stripped = chunk.strip()
        if stripped and any(c.isalpha() for c in stripped):
            first = start + len(chunk) - len(chunk.lstrip())
            pieces.append(Sentence(stripped, first, first + len(stripped)))
        start = stop
    return pieces
