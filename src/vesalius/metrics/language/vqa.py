"""Answers to questions: choices, yes or no, open answers; what was refused or could not be read is counted apart.

A reader of letters must not be fooled by prose: "A small effusion" names no option, nor do "hepatitis C" and "vitamin
B". A letter counts only where it stands as an answer: alone, before a bracket or stop at the start, in brackets, or
after "answer is" and the like. Otherwise the words of exactly one option must occur. Two different answers are none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.language.text import LexicalScorer
from vesalius.metrics.language.tokens import TOKENIZERS
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import metric
from vesalius.metrics.statistics.bootstrap import bootstrap_share
from vesalius.metrics.statistics.intervals import wilson

__all__ = [
    "Choices",
    "VqaItem",
    "VqaScores",
    "choice_accuracy",
    "is_refusal",
    "parse_choice",
    "parse_choice_published",
    "parse_yes_no",
    "parse_yes_no_published",
    "vqa_scores",
]

Choices = Sequence[str] | Mapping[str, str]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_DECLINED = r"(?:provide|answer|determine|assist|help|interpret)"
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am)? (?:sorry|unable|not able)|i (?:cannot|can't|can not|won't)|as an ai"
    rf"|(?:cannot|can't|unable to) {_DECLINED}|(?:not enough|insufficient) information)\b|抱歉|无法(?:回答|判断|确定)",
    re.IGNORECASE,
)
_YES, _NO = {"yes", "是", "有"}, {"no", "否", "无", "没有"}


def _options(choices: Choices) -> dict[str, str]:
    if isinstance(choices, Mapping):
        table = {str(k).strip().upper(): str(v) for k, v in choices.items()}
    else:
        table = dict(zip(LETTERS, (str(c) for c in choices), strict=False))
    if len(table) < 2 or len(table) != len(choices) or any(k not in LETTERS for k in table):
        raise UsageError(
            "cannot read a choice", why=f"{len(choices)} options", fix="give 2 to 26 options, or letters to options"
        )
    return table


def is_refusal(answer: str) -> bool:
    """Whether a text declines to answer; a text that also gives an answer is judged by its answer first."""
    return bool(_REFUSAL.search(answer))


_NOUN = r"(?:answer|option|choice)"
_VERB = r"(?:is|:|：|=|would be|should be)"
_CUE = rf"(?:{_NOUN}\s*{_VERB}+\s*(?:option|choice)?|\\boxed|答案\s*(?:是|为|:|：)+|选择?\s*[:：]?)"


def _declared(answer: str, letters: str) -> tuple[bool, str | None]:
    """The last letter declared as the answer: `(declared at all, letter or None when two are offered)`."""
    either = f"[{letters}{letters.lower()}]"
    after = r"(?![\w'’])"
    verbs = re.finditer(rf"{_CUE}[\s*_`\"'“”]*[(\[{{]?\s*[*_]*({either}){after}", answer, re.IGNORECASE)
    nouns = re.finditer(rf"\b{_NOUN}\s+[(\[]?({either}){after}", answer, re.IGNORECASE)
    found = [m for m in verbs if not _article(answer, m.end(1) - 1)]
    found += [m for m in nouns if m.group(1).isupper() and not _article(answer, m.end(1) - 1)]
    if not found:
        return False, None
    last = max(found, key=lambda m: m.end(1))
    other = re.match(rf"[)\]}}*_]*\s*(?:or|and|/|,|&|或|和)\s*[(\[]?([{letters}]){after}", answer[last.end() :])
    return True, None if other and other.group(1) != last.group(1).upper() else last.group(1).upper()


def _article(text: str, place: int) -> bool:
    """Whether the letter there is the English article: an a, then a space, then a word in lower case."""
    return text[place] in "aA" and bool(re.match(r" [a-z]{2,}", text[place + 1 :]))


def parse_choice(answer: str, choices: Choices) -> str | None:
    """The option an answer chooses.

    Args:
        answer: What the model wrote.
        choices: The options in order (A, B ...), or letter to option.

    Returns:
        The letter; `None` when no option, or more than one, is chosen.

    Raises:
        UsageError: Fewer than two options or more than 26.
    """
    table = _options(choices)
    letters = "".join(table)
    text = answer.strip()
    whole = re.fullmatch(rf"\W*([{letters}{letters.lower()}])\W*", text)
    if whole:
        return whole.group(1).upper()
    declared, letter = _declared(text, letters)
    if declared:
        return letter
    start = re.match(rf"[\s*_`\"'(\[]*([{letters}{letters.lower()}])\s*[*_]*[)\].:：、,](?!\w)", text)
    bracketed = {m.group(1) for m in re.finditer(rf"(?<![\w])[(\[]([{letters}])[)\]]", text)}
    if start:
        others = bracketed | {
            m.group(1) for m in re.finditer(rf"(?:\bor|\band|/|&|,)\s*[(\[]?([{letters}])(?![\w'’])", text)
        }
        return start.group(1).upper() if others <= {start.group(1).upper()} else None
    if bracketed:
        return bracketed.pop() if len(bracketed) == 1 else None
    return _by_words(text, table)


def _by_words(text: str, table: Mapping[str, str]) -> str | None:
    """The one option whose words occur in a row, a longer option hiding a shorter one within it."""
    words = TOKENIZERS["words"](text)
    options = {letter: TOKENIZERS["words"](option) for letter, option in table.items()}
    bare = words[1:] if words and words[0].upper() in options and words[1:] == options[words[0].upper()] else words
    exact = [letter for letter, option in options.items() if option and option in (words, bare)]
    if len(exact) == 1:
        return exact[0]
    free = [True] * len(words)
    found: list[str] = []
    for letter, option in sorted(options.items(), key=lambda item: -len(item[1])):
        size = len(option)
        for i in range(len(words) - size + 1 if size else 0):
            if words[i : i + size] == option and all(free[i : i + size]):
                if not _denied(words[:i], free):
                    found.append(letter)
                free[i : i + size] = [False] * size
    return found[0] if len(set(found)) == 1 else None


_DENIALS = {"not", "no", "without", "excluding", "neither", "nor", "isn't", "不", "非", "无"}


def _denied(before: Sequence[str], free: Sequence[bool]) -> bool:
    """Whether one of the three words before denies what follows; "but" and another option end the reach of a denial."""
    for place in range(len(before) - 1, max(-1, len(before) - 4), -1):
        if before[place] in _DENIALS:
            return True
        if before[place] == "but" or not free[place]:
            return False
    return False


def parse_choice_published(answer: str, choices: Choices, style: Literal["medq", "mediconfusion"]) -> str | None:
    """Letter readers as published, to repeat published numbers; use `parse_choice` to judge a model.

    Args:
        answer: What the model wrote.
        choices: The options.
        style: `medq`: everything upper-cased, then a cascade that ends at the first isolated letter, so an article
            counts as option A. `mediconfusion`: a letter between white space with some punctuation; both letters give
            none.

    Returns:
        The letter or `None`.

    Raises:
        UsageError: Unknown style.
    """
    letters = "".join(_options(choices))
    if style == "medq":
        text = answer.strip().upper()
        for pattern in (
            rf"^([{letters}])$",
            rf"^([{letters}])[.)\s]",
            rf"(?:ANSWER IS|OPTION)\s*([{letters}])",
            rf"([{letters}])\s*[-:]",
            rf"\b([{letters}])\b",
        ):
            found = re.search(pattern, text)
            if found:
                return found.group(1)
        return None
    if style == "mediconfusion":
        seen = {t.strip(".,:()\"'") for t in answer.split() if t.strip(".,:()\"'") in set(letters)}
        return seen.pop() if len(seen) == 1 else None
    raise UsageError("unknown reader of letters", item=str(style), fix="use medq or mediconfusion")


def parse_yes_no(answer: str) -> bool | None:
    """Yes (`True`) or no (`False`) by the first word that is either; `None` without one, or for a refusal before it."""
    words = re.findall(r"[a-z']+|是|没有|有|否|无", answer.lower())
    for place, word in enumerate(words):
        if word in _YES or word in _NO:
            ahead = " ".join(words[:place])
            return None if _REFUSAL.search(ahead) else word in _YES
    return None


def parse_yes_no_published(answer: str, truth: bool) -> bool:
    """Whether the released ProbMed evaluation counts an answer as right: the word Yes or No anywhere, case kept.

    "Normal study" and "Not sure" then count as No, and an answer with both words is right either way.
    """
    return ("Yes" if truth else "No") in answer


@dataclass(frozen=True)
class VqaItem:
    """One question with its answer.

    Attributes:
        answer: What the model wrote; `None` when it gave nothing.
        truth: The right letter or option (choice), yes or no (closed), or the reference text (open).
        kind: `choice`, `closed` (yes or no) or `open`.
        options: Options of a choice.
    """

    answer: str | None
    truth: str
    kind: Literal["choice", "closed", "open"]
    options: Choices = ()


@dataclass(frozen=True)
class VqaScores:
    """Scores of one kind of question.

    Attributes:
        accuracy: Right / all; what was refused or not read is wrong. For open questions, exact match. The
            interval is Wilson's, or a bootstrap over patients where these are given.
        selective: Right / answered, likewise; `None` when nothing was answered.
        answered: Answers that could be read.
        refused: Answers that decline.
        unread: Missing answers and answers without a readable choice.
        chance: Expected accuracy of a random choice; `None` for open questions.
        token_f1: Mean token F1, open questions only.
        token_recall: Mean token recall, open questions only.
        bleu1: Corpus BLEU-1, open questions only.
        n: Questions.
    """

    accuracy: Measure
    selective: Measure | None
    answered: int
    refused: int
    unread: int
    chance: float | None
    token_f1: float | None
    token_recall: float | None
    bleu1: float | None
    n: int


def _right_letter(item: VqaItem) -> str:
    table = _options(item.options)
    truth = item.truth.strip()
    if truth.upper() in table:
        return truth.upper()
    same = [letter for letter, option in table.items() if option.strip().casefold() == truth.casefold()]
    if len(same) != 1:
        raise BadInputError(
            "cannot score a choice", item=truth, why="the true answer is neither a letter nor one of the options"
        )
    return same[0]


def _judge(
    items: Sequence[VqaItem], yes_no: Callable[[str], bool | None]
) -> tuple[list[bool], list[bool], int, list[float]]:
    right: list[bool] = []
    answered: list[bool] = []
    refused = 0
    chance: list[float] = []
    for item in items:
        text = item.answer or ""
        if item.kind == "choice":
            letter = parse_choice(text, item.options)
            read, good = letter is not None, letter == _right_letter(item)
            chance.append(1 / len(item.options))
        else:
            truth = parse_yes_no(item.truth)
            if truth is None:
                raise BadInputError(
                    "cannot score a closed question", item=item.truth, why="the true answer is neither yes nor no"
                )
            given = yes_no(text)
            read, good = given is not None, given == truth
            chance.append(0.5)
        right.append(read and good)
        answered.append(read)
        refused += not read and is_refusal(text)
    return right, answered, refused, chance


def vqa_scores(
    items: Sequence[VqaItem],
    yes_no: Callable[[str], bool | None] = parse_yes_no,
    level: float = 0.95,
    *,
    patients: Sequence[Hashable] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, VqaScores]:
    """Scores by kind of question.

    Args:
        items: Questions with answers.
        yes_no: Reader of yes or no.
        level: Level of the intervals.
        patients: Patient of each item; several questions about one image are not independent.
        resamples: Bootstrap resamples, with patients.
        seed: Seed of the bootstrap.

    Returns:
        Kind to scores, for the kinds that occur.

    Raises:
        BadInputError: No item, or a true answer that does not fit its kind.
    """
    if not items:
        raise BadInputError("nothing to measure", why="there is no question")
    if patients is not None and len(patients) != len(items):
        raise BadInputError("inputs differ in length", why=f"{len(items)} items, {len(patients)} patients")
    out: dict[str, VqaScores] = {}

    def share(hits: Sequence[bool], whose: Sequence[str] | None, name: str) -> Measure:
        if whose is None:
            found = wilson(sum(hits), len(hits), level)
        else:
            found = bootstrap_share(hits, resamples=resamples, seed=seed, groups=list(whose), level=level)
        return found.named(name, higher_is_better=True)

    for kind in ("choice", "closed", "open"):
        places = [i for i, item in enumerate(items) if item.kind == kind]
        some = [items[i] for i in places]
        whose = None if patients is None else [str(patients[i]) for i in places]
        if not some:
            continue
        n = len(some)
        extra: dict[str, Any] = {"token_f1": None, "token_recall": None, "bleu1": None}
        if kind == "open":
            refused = sum(is_refusal(item.answer or "") for item in some)
            read = [bool((i.answer or "").strip()) and not is_refusal(i.answer or "") for i in some]
            texts = ["" if is_refusal(item.answer or "") else item.answer or "" for item in some]
            scorer = LexicalScorer(("exact_match", "token_f1", "token_recall", "bleu1"))
            scores = scorer.score(texts, [item.truth for item in some])
            right = [bool(v) for v in scores.pairs["exact_match"]]
            extra = {name: scores.corpus[name] for name in extra}
            chance: float | None = None
        else:
            right, read, refused, guesses = _judge(some, yes_no)
            chance = float(np.mean(guesses))
        answered = sum(read)
        known = [k for k in range(n) if read[k]]
        out[kind] = VqaScores(
            accuracy=share(right, whose, "accuracy"),
            selective=share([right[k] for k in known], whose and [whose[k] for k in known], "selective accuracy")
            if known
            else None,
            answered=answered,
            refused=refused,
            unread=n - answered - refused,
            chance=chance,
            n=n,
            **extra,
        )
    return out


@metric(
    "choice_accuracy",
    definition="Share of multiple-choice answers that choose the right option; refused and unreadable "
    "answers are wrong.",
    source="standard; the reader of letters is parse_choice",
    edge_cases="No question, fewer than two options and a truth that is no option are errors; two chosen "
    "options are unread.",
)
def choice_accuracy(answers: Sequence[str | None], truth: Sequence[str], options: Sequence[Choices]) -> float:
    """Accuracy of choices; see `vqa_scores` for refusals and intervals."""
    if not len(answers) == len(truth) == len(options) > 0:
        raise BadInputError(
            "inputs differ in length", why=f"{len(answers)} answers, {len(truth)} truths, {len(options)} options"
        )
    items = [VqaItem(a, t, "choice", o) for a, t, o in zip(answers, truth, options, strict=True)]
    return vqa_scores(items)["choice"].accuracy.value
