"""Yes or no, and numbers, in free answers of models and people. Multiple-choice letters belong to `metrics.vqa`."""

from __future__ import annotations

import math
import re

from vesalius.text.context import Context
from vesalius.text.sentences import split_sentences
from vesalius.text.tokens import Phrases, tokenize

_YES = frozenset(
    {"yes", "y", "yeah", "yep", "true", "correct", "affirmative", "right", "present", "是", "有", "对", "haan"}
)
_NO = frozenset(
    {"no", "n", "nope", "false", "incorrect", "negative", "absent", "not", "none", "否", "无", "没", "nahi"}
)
_LEAD = frozenset(
    {"the", "answer", "is", "final", ":", "a", ",", "*", "#", '"', "'", "(", "[", "well", "so", "-", ">", "."}
)
_REFUSAL = re.compile(
    r"\b(?:cannot|can not|can't|unable to|not able to|won't|will not)\s+(?:\w+\s+){0,3}?"
    r"(?:determine|answer|tell|say|provide|assist|help|comment|diagnos\w*|interpret|assess|analy[sz]e|view|see the)"
    r"|\b(?:insufficient information|not enough information|as an ai|i don't know|i do not know|no image (?:was|is) )"
    r"|无法(?:判断|确定|回答)|不能确定|不知道",
    re.IGNORECASE,
)
_FINAL = re.compile(r"(?:answer|答案)(?:[*_ ]{0,4}(?:is|[:：=是]))[\s:*_\"'(\[]*+(?=\w)", re.IGNORECASE)
_LONGEST = 20_000  # characters that are read
_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "none": 0, "no": 0, "single": 1, "once": 1, "pair": 2, "dozen": 12,
    "零": 0, "一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]*[a-z]\d)", re.IGNORECASE
)


def parse_yes_no(answer: str) -> bool | None:
    """Yes (`True`), no (`False`), or neither (`None`).

    The last "answer: ..." is read if there is one, else the first word that is not filler, else an answer that begins
    with "there is (no)". Refusals and answers that say both give `None`.

    Args:
        answer: A free answer.

    Examples:
        >>> parse_yes_no("Yes, there is."), parse_yes_no("No effusion."), parse_yes_no("Both yes and no")
        (True, False, None)
        >>> parse_yes_no("There is no doubt. Final answer: **yes**"), parse_yes_no("I cannot determine this.")
        (True, None)
    """
    answer = answer[:_LONGEST]
    final = list(_FINAL.finditer(answer))
    text = answer[final[-1].end() :] if final else answer
    if not final and _REFUSAL.search(answer):
        return None
    words = [t.lemma for t in tokenize(text[:2000])]
    while words and words[0] in _LEAD:
        words.pop(0)
    if not words:
        return None
    first = words[0]
    if first == "not" and len(words) > 1:
        return {"present": False, "absent": True}.get(words[1], False)
    if first in _YES or first in _NO:
        other = _NO if first in _YES else _YES
        both = len(words) > 2 and words[1] in {"and", "or", "/"} and words[2] in other
        return None if both else first in _YES
    if first == "there" and len(words) > 2:
        return words[2] not in {"no", "not"}
    return None


def is_refusal(answer: str) -> bool:
    """True when an answer declines ("I am unable to determine ...") and gives no final answer."""
    start = answer[:_LONGEST]
    return bool(_REFUSAL.search(start)) and not _FINAL.search(start)


def parse_number(answer: str) -> float | None:
    """The number an answer gives.

    The last "answer: ..." is read if there is one. A single number is taken; of several different ones none is. Number
    words up to twelve are known and read only where there are no digits.

    Args:
        answer: A free answer.

    Returns:
        The number, or `None` when there is none or more than one.

    Examples:
        >>> parse_number("There are 12 cells."), parse_number("two nodules"), parse_number("between 3 and 5")
        (12.0, 2.0, None)
        >>> parse_number("First 3, then 4. Answer: 1,204")
        1204.0
    """
    answer = answer[:_LONGEST]
    final = list(_FINAL.finditer(answer))
    text = answer[final[-1].end() :] if final else answer
    numbers = {value for n in _NUMBER.findall(text[:5000]) if math.isfinite(value := float(n.replace(",", "")))}
    if not numbers:
        numbers = {float(_WORDS[t.lemma]) for t in tokenize(text[:5000]) if t.lemma in _WORDS}
    return numbers.pop() if len(numbers) == 1 else None


def affirms(answer: str, phrase: str) -> bool | None:
    """Whether an answer affirms (`True`) or denies (`False`) a phrase; `None` when it is not named or uncertain.

    Examples:
        >>> affirms("The film shows effusion but no pneumothorax.", "pneumothorax")
        False
    """
    matcher = Phrases([(phrase, "phrase")]) if tokenize(phrase) else None
    for sentence in split_sentences(answer[:_LONGEST]) if matcher else ():
        tokens = tokenize(sentence.text)
        found = matcher.find(tokens) if matcher else []
        if found:
            status = Context(tokens).status(found[0].first, found[0].last)
            return {"present": True, "absent": False}.get(status)
    return None
