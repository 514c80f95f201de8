"""The Porter stemmer (Porter, Program 1980), English; used by METEOR and by stemmed ROUGE."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

__all__ = ["stem"]

_VOWELS = "aeiou"

_STEP2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("abli", "able"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"),
)  # fmt: skip
_STEP3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion", "ou", "ism", "ate",
    "iti", "ous", "ive", "ize",
)  # fmt: skip


def _consonant(word: str, place: int) -> bool:
    letter = word[place]
    if letter in _VOWELS:
        return False
    return place == 0 or not _consonant(word, place - 1) if letter == "y" else True


def _kinds(stem_: str) -> list[bool]:
    """Whether each letter is a consonant."""
    kinds: list[bool] = []
    for place, letter in enumerate(stem_):
        if letter in _VOWELS:
            kinds.append(False)
        elif letter == "y":
            kinds.append(place == 0 or not kinds[-1])
        else:
            kinds.append(True)
    return kinds


def _measure(stem_: str) -> int:
    """Number of vowel-consonant sequences."""
    kinds = _kinds(stem_)
    return sum(1 for a, b in pairwise(kinds) if not a and b)


def _vowel(stem_: str) -> bool:
    return not all(_kinds(stem_))


def _double(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _consonant(word, len(word) - 1)


def _short_end(word: str) -> bool:
    """Ends consonant, vowel, consonant other than w, x, y."""
    if len(word) < 3:
        return False
    kinds = _kinds(word)
    return kinds[-3] and not kinds[-2] and kinds[-1] and word[-1] not in "wxy"


def _step1(word: str) -> str:
    if word.endswith("sses") or word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        if _measure(word[:-3]) > 0:
            word = word[:-1]
    else:
        for suffix in ("ed", "ing"):
            if word.endswith(suffix):
                rest = word[: -len(suffix)]
                if _vowel(rest):
                    word = _tidy(rest)
                break
    if word.endswith("y") and _vowel(word[:-1]):
        word = word[:-1] + "i"
    return word


def _tidy(rest: str) -> str:
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if _double(rest) and rest[-1] not in "lsz":
        return rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _short_end(rest) else rest


def _swap(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """The rule with the longest matching suffix decides, whether it applies or not."""
    for suffix, other in sorted(rules, key=lambda rule: -len(rule[0])):
        if word.endswith(suffix):
            rest = word[: len(word) - len(suffix)]
            return rest + other if _measure(rest) > 0 else word
    return word


def _step4(word: str) -> str:
    for suffix in sorted(_STEP4, key=len, reverse=True):
        if word.endswith(suffix):
            rest = word[: len(word) - len(suffix)]
            if suffix in ("sion", "tion"):
                rest += suffix[0]
            return rest if _measure(rest) > 1 else word
    return word


def _step5(word: str) -> str:
    if word.endswith("e"):
        rest = word[:-1]
        size = _measure(rest)
        if size > 1 or (size == 1 and not _short_end(rest)):
            word = rest
    if word.endswith("ll") and _measure(word[:-1]) > 1:
        word = word[:-1]
    return word


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Stem of a lower-case English word; words of one or two letters are left alone."""
    if len(word) <= 2:
        return word
    return _step5(_step4(_swap(_swap(_step1(word), _STEP2), _STEP3)))
