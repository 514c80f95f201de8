"""Prompt sensitivity: the same cases, the same model, other words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import plain
from vesalius.errors import BadInputError
from vesalius.metrics.classification.scores import auroc
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.bootstrap import ScoreBoard, resample_counts

__all__ = ["AnswerSensitivity", "PromptSensitivity", "answer_sensitivity", "prompt_sensitivity"]


@dataclass(frozen=True)
class PromptSensitivity:
    """How much a score depends on its prompt.

    Args:
        by_prompt: Prompt to AUROC.
        mean: Mean over prompts: what a user with any of these prompts should expect.
        best: Best prompt.
        worst: Worst prompt.
        spread: Best minus worst AUROC, with the bootstrap interval of *this* best minus *this* worst prompt.
        optimism: How much the best prompt's AUROC, picked on these very cases, overstates it (bootstrap, Efron 1983).
        flip_rate: Share of pairs of prompts, over all cases, that fall on two sides of the threshold; None without one.
        n: Cases.
    """

    by_prompt: dict[str, float]
    mean: float
    best: str
    worst: str
    spread: Measure
    optimism: float
    flip_rate: float | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        out: dict[str, Any] = plain(vars(self))
        return out


def prompt_sensitivity(
    y: npt.ArrayLike,
    scores: Mapping[str, npt.ArrayLike],
    *,
    threshold: float | None = None,
    patients: Sequence[Any] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PromptSensitivity:
    """Compare the scores that several prompts give to the same cases.

    Args:
        y: Labels 0/1 `(n,)`.
        scores: Prompt to scores `(n,)`; at least two prompts.
        threshold: Decision threshold, for the flip rate.
        patients: Resampled whole.
        resamples: Bootstrap resamples.
        level: Level of the interval.
        seed: Seed.

    Raises:
        BadInputError: Fewer than two prompts, or wrong scores.
    """
    if len(scores) < 2:
        raise BadInputError("prompt sensitivity needs at least two prompts")
    names = list(scores)
    table = np.stack([np.asarray(scores[k], dtype=np.float64) for k in names])
    labels = np.asarray(y).astype(bool)
    areas = np.asarray([auroc(labels, s) for s in table])
    best, worst = int(areas.argmax()), int(areas.argmin())
    boards = [ScoreBoard(labels, s) for s in table]
    codes = None if patients is None else np.unique([str(p) for p in patients], return_inverse=True)[1]
    drawn = np.concatenate(
        [
            np.stack([b.auroc(c) for b in boards], axis=1)
            for c in resample_counts(len(labels), resamples, seed, labels, codes)
        ]
    )
    gap = drawn[:, best] - drawn[:, worst]
    low, high = np.quantile(gap[np.isfinite(gap)], [(1 - level) / 2, (1 + level) / 2])
    picked = drawn.argmax(axis=1)
    # What the winner of a resample shows there, minus what it is worth on the cases themselves.
    optimism = float(np.mean(drawn[np.arange(len(drawn)), picked] - areas[picked]))
    flips = None
    if threshold is not None:
        called = table >= threshold
        flips = float(np.mean([np.mean(a != b) for a, b in itertools.combinations(called, 2)]))
    return PromptSensitivity(
        {k: float(a) for k, a in zip(names, areas, strict=True)},
        float(areas.mean()),
        names[best],
        names[worst],
        Measure(float(areas[best] - areas[worst]), float(low), float(high), level, "bootstrap percentile", len(labels)),
        optimism,
        flips,
        len(labels),
    )


@dataclass(frozen=True)
class AnswerSensitivity:
    """How much plain answers depend on the prompt.

    Args:
        accuracy: Prompt to accuracy.
        agreement: Share of pairs of prompts with the same answer, over all questions.
        always_right: Share of questions answered right under every prompt.
        ever_right: Share answered right under some prompt.
        n: Questions.
    """

    accuracy: dict[str, float]
    agreement: float
    always_right: float
    ever_right: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


def answer_sensitivity(truth: Sequence[str], answers: Mapping[str, Sequence[str | None]]) -> AnswerSensitivity:
    """Compare answers (already parsed; None = unreadable, never right, and unlike any answer but another None).

    Raises:
        BadInputError: Fewer than two prompts, or unequal numbers of answers.
    """
    if len(answers) < 2 or any(len(a) != len(truth) for a in answers.values()) or not truth:
        raise BadInputError("prompt sensitivity needs two prompts with an answer to every question each")
    right = {k: [a == t for a, t in zip(v, truth, strict=True)] for k, v in answers.items()}
    rows = list(zip(*right.values(), strict=True))
    agree = [
        sum(x == z for x, z in zip(a, b, strict=True)) / len(truth)
        for a, b in itertools.combinations(answers.values(), 2)
    ]
    n = len(truth)
    return AnswerSensitivity(
        {k: sum(v) / n for k, v in right.items()},
        sum(agree) / len(agree),
        sum(all(r) for r in rows) / n,
        sum(any(r) for r in rows) / n,
        n,
    )
