"""Probing pairs: two questions that only someone who looks at the image can both get right.

*Same question, two images* (MediConfusion 2024): the images need opposite answers. *Two questions, one image* (ProbMed
2024): one names a true attribute, the other an attribute that is not there. Scores are given as published, with one
corrected score for both: **discrimination** = (pairs both right - pairs both wrong) / all pairs. Any answerer that
does not look gets one of the two right and scores 0; a coin scores 0 on average; an invalid answer is wrong; 1 is best.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vesalius.audit.finding import plain
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.intervals import normal_quantile, wilson

__all__ = [
    "Discrimination",
    "MediConfusion",
    "Pair",
    "ProbMed",
    "Probe",
    "discrimination",
    "letter",
    "mediconfusion",
    "probmed",
    "yes_no",
]

Answer = Literal["A", "B"] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Answers to one question about two images.

    Args:
        first: Parsed answer on the first image, None when invalid.
        second: On the second image.
        first_correct: The right answer on the first image; on the second it is the other one.
        categories: Labels of the pair for the table.
    """

    first: Answer
    second: Answer
    first_correct: Literal["A", "B"]
    categories: tuple[str, ...] = ()

    @property
    def right(self) -> tuple[bool, bool]:
        """Whether each answer is right."""
        return self.first == self.first_correct, self.second == ("B" if self.first_correct == "A" else "A")


@dataclass(frozen=True, kw_only=True)
class Discrimination(Measure):
    """The corrected score: (both right - both wrong) / pairs, with the normal interval of a mean of values 1, 0, -1.

    Args:
        p_blind: Exact one-sided sign test: chance of so many more both-right than both-wrong for one who does not look.
    """

    p_blind: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**super().to_dict(), "p_blind": self.p_blind}


def discrimination(right: Sequence[tuple[bool, bool]], level: float = 0.95) -> Discrimination:
    """The corrected score of pairs.

    Args:
        right: For each pair whether its two answers are right.
        level: Level of the interval.

    Raises:
        BadInputError: No pairs.
    """
    from scipy.stats import binomtest

    n = len(right)
    if n == 0:
        raise BadInputError("no pairs")
    up = sum(a and b for a, b in right)
    down = sum(not a and not b for a, b in right)
    value = (up - down) / n
    # Two pseudo-pairs keep a spread where every pair came out alike.
    spread = max((up + down + 2) / (n + 2) - value * value, 0.0)
    half = normal_quantile(level) * (spread / n) ** 0.5
    p = float(binomtest(up, up + down, 0.5, alternative="greater").pvalue) if up + down else 1.0
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Discrimination(value, low, high, level, "normal", n, name="discrimination", higher_is_better=True, p_blind=p)


@dataclass(frozen=True)
class MediConfusion:
    """Scores of same-question pairs.

    Args:
        set_accuracy: Share of all pairs with both answers right (chance 0.25), with Wilson's interval.
        individual: Share of all answers that are right (chance 0.5).
        confusion: Share of pairs with the same answer twice, among pairs with two valid answers (chance 0.5); None when
            there is none. Published denominator.
        confusion_all: The same among all pairs: refusing does not change the denominator.
        invalid: Share of answers that could not be read.
        corrected: See `Discrimination`.
        n: Pairs.
        by_category: Category to set accuracy (a pair counts in each of its categories).
    """

    set_accuracy: Measure
    individual: float
    confusion: float | None
    confusion_all: float
    invalid: float
    corrected: Discrimination
    n: int
    by_category: dict[str, Measure]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        out: dict[str, Any] = plain({**vars(self), "corrected": self.corrected.to_dict()})
        return out


def mediconfusion(pairs: Sequence[Pair], level: float = 0.95) -> MediConfusion:
    """Score same-question pairs as MediConfusion does, with intervals and the corrected score.

    Raises:
        BadInputError: No pairs.
    """
    n = len(pairs)
    if n == 0:
        raise BadInputError("no pairs")
    right = [p.right for p in pairs]
    both = sum(a and b for a, b in right)
    valid = [p for p in pairs if p.first is not None and p.second is not None]
    confused = sum(p.first == p.second for p in valid)
    table: dict[str, list[bool]] = defaultdict(list)
    for p, (a, b) in zip(pairs, right, strict=True):
        for category in p.categories:
            table[category].append(a and b)
    return MediConfusion(
        wilson(both, n, level),
        sum(a + b for a, b in right) / (2 * n),
        confused / len(valid) if valid else None,
        confused / n,
        sum((p.first is None) + (p.second is None) for p in pairs) / (2 * n),
        discrimination(right, level),
        n,
        {k: wilson(sum(v), len(v), level) for k, v in sorted(table.items())},
    )


@dataclass(frozen=True, slots=True)
class Probe:
    """One yes/no answer of a ProbMed-style set.

    Args:
        image: Image id.
        image_type: Modality and organ (`chest_x-ray`).
        kind: `modality`, `body_part`, `abnormality`, `entity` or `grounding`.
        true: The attribute is there (right answer yes); False for the hallucinated one (right answer no).
        right: The answer was right.
        index: Number of the pair within the image (0 where there is one).
    """

    image: str
    image_type: str
    kind: str
    true: bool
    right: bool
    index: int = 0


@dataclass(frozen=True)
class ProbMed:
    """Scores of true/hallucinated pairs.

    Args:
        published: Kind to accuracy, weighted over image types as the paper weighs them.
        published_overall: Mean over kinds with the paper's weights.
        without_hallucination: Kind to accuracy on the true questions alone.
        corrected: Kind to `Discrimination` over pairs.
        corrected_overall: Over all pairs of all kinds together.
        accuracy: Kind to share of images that are wholly right, among images that have such questions.
        chance: Kind to the exact accuracy of a coin on these very images.
        worse_than_chance: Kinds whose accuracy lies below chance beyond doubt (one-sided exact-moment normal, 5 %).
        images: Kind to images that have it.
    """

    published: dict[str, float]
    published_overall: float
    without_hallucination: dict[str, float]
    corrected: dict[str, Discrimination]
    corrected_overall: Discrimination | None
    accuracy: dict[str, float]
    chance: dict[str, float]
    worse_than_chance: tuple[str, ...]
    images: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        data = dict(vars(self))
        data["corrected"] = {k: v.to_dict() for k, v in self.corrected.items()}
        data["corrected_overall"] = None if self.corrected_overall is None else self.corrected_overall.to_dict()
        out: dict[str, Any] = plain(data)
        return out


KINDS = ("modality", "body_part", "abnormality", "entity", "grounding")


def probmed(probes: Sequence[Probe], level: float = 0.95) -> ProbMed:
    """Score true/hallucinated pairs as ProbMed does, and corrected.

    An image is right for a kind when every question of that kind about it is right. Published weights: for `entity` and
    `grounding` each image type counts with all its images, also those without such questions; for the others with the
    images that have them.

    Raises:
        UsageError: An unknown kind.
        BadInputError: No answers.
    """
    if not probes:
        raise BadInputError("no answers")
    unknown = {p.kind for p in probes} - set(KINDS)
    if unknown:
        raise UsageError("unknown kind of probe", item=", ".join(sorted(unknown)), fix=f"use {', '.join(KINDS)}")
    asked: dict[str, dict[tuple[str, str], list[Probe]]] = {k: defaultdict(list) for k in KINDS}
    all_images: dict[str, set[str]] = defaultdict(set)
    for p in probes:
        asked[p.kind][p.image_type, p.image].append(p)
        all_images[p.image_type].add(p.image)
    published, weights, plain_right, accuracy, chance, corrected, images = {}, {}, {}, {}, {}, {}, {}
    worse, every_pair = [], []
    for kind in KINDS:
        by_image = asked[kind]
        if not by_image:
            continue
        good = {key: all(p.right for p in ps) for key, ps in by_image.items()}
        top = bottom = 0.0
        for image_type, members in sorted(all_images.items()):
            mine = [good[image_type, m] for m in members if (image_type, m) in good]
            if mine:
                weight = len(members) if kind in ("entity", "grounding") else len(mine)
                top, bottom = top + weight * sum(mine) / len(mine), bottom + weight
        published[kind], weights[kind] = top / bottom, bottom
        true_ones = [p.right for ps in by_image.values() for p in ps if p.true]
        if kind != "abnormality" and true_ones:
            plain_right[kind] = sum(true_ones) / len(true_ones)
        images[kind] = len(good)
        accuracy[kind] = sum(good.values()) / len(good)
        odds = [0.5 ** len(ps) for ps in by_image.values()]
        chance[kind] = sum(odds) / len(odds)
        spread = sum(q * (1 - q) for q in odds) ** 0.5
        if sum(good.values()) + 0.5 < sum(odds) - normal_quantile(0.9) * spread:
            worse.append(kind)
        pairs = _pairs(by_image)
        if pairs:
            corrected[kind] = discrimination(pairs, level)
            every_pair += pairs
    overall = sum(published[k] * weights[k] for k in published) / sum(weights.values())
    return ProbMed(
        published,
        overall,
        plain_right,
        corrected,
        discrimination(every_pair, level) if every_pair else None,
        accuracy,
        chance,
        tuple(worse),
        images,
    )


def letter(reply: str) -> Answer:
    """The letter of a reply as MediConfusion reads it: a word that is A or B but for marks around it; both is none."""
    found = {w.strip(".:,;)(\"'") for w in reply.split()} & {"A", "B"}
    if found == {"A"}:
        return "A"
    return "B" if found == {"B"} else None


def yes_no(reply: str, *, published: bool = False, expected: bool | None = None) -> bool | None:
    """Yes (True), no (False) or unanswered (None).

    Args:
        reply: What the model said.
        published: As the paper's code: "Yes" (or "No") anywhere in the reply counts, letter case and word ends ignored
            by nobody, so "Normal" holds a "No". Needs `expected`, since the code only looks for the right word.
        expected: The right answer.

    Returns:
        Ours: the first word that is yes or no, in any case.

    Raises:
        UsageError: `published` without `expected`.
    """
    if published:
        if expected is None:
            raise UsageError("the published parser needs the right answer", fix="give expected")
        return expected if ("Yes" if expected else "No") in reply else None
    match = re.search(r"\b(yes|no)\b", reply, flags=re.IGNORECASE)
    return None if match is None else match.group(1).lower() == "yes"


def _pairs(by_image: dict[tuple[str, str], list[Probe]]) -> list[tuple[bool, bool]]:
    out = []
    for probes in by_image.values():
        sides: dict[int, dict[bool, bool]] = defaultdict(dict)
        for p in probes:
            sides[p.index][p.true] = p.right
        out += [(s[True], s[False]) for s in sides.values() if len(s) == 2]
    return out
