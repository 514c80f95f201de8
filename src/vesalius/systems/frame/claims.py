"""One measured comparison: how a mechanism's scores and its ablation's become a margin with an interval. numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vesalius.errors import BadInputError
from vesalius.metrics.classification.worst_group import group_means, worst_group_difference
from vesalius.metrics.statistics.bootstrap import bootstrap_mean, bootstrap_share
from vesalius.metrics.statistics.clustered import clustered_auroc, clustered_auroc_difference
from vesalius.metrics.statistics.inference import AucEstimate
from vesalius.systems.frame.scores import Each, Ranking, Strata

RESAMPLES = 2000
#: z of a two-sided 95 % interval.
Z = 1.959963984540054


@dataclass(frozen=True)
class Claim:
    """One measured comparison of a mechanism with its ablation, on one seed.

    Args:
        system: Name of the system.
        claim: What is compared, in a few words; the same for every seed (`mIoU, with TaCo - without`).
        ours: The figure with the mechanism.
        baseline: The figure without it, made alike; or the number that is to be reached.
        margin: How much better ours is (positive is better, whatever the figure's direction).
        low: Lower end of the margin's 95 % interval over test cases, resampled by patient.
        high: Upper end.
        goal: Margin that the claim names. Above 0 it is an improvement: the margin must reach it and its interval
            exclude 0. At or below 0 it is "no worse than by this much": the interval's lower end must reach it.
        n: Test cases.
        seed: Seed of data, training and resampling.
        data: `phantom`, or the name of the real set.
        seconds: Wall time of what this comparison needed and no earlier one had.
        details: More figures, for the reader of one run.
    """

    system: str
    claim: str
    ours: float
    baseline: float
    margin: float
    low: float
    high: float
    goal: float
    n: int
    seed: int
    data: str = "phantom"
    seconds: float = math.nan
    details: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether this run bears the claim out."""
        return bears_out(self.margin, self.low, self.goal)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "holds": self.holds}

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.system} on {self.data}, seed {self.seed}: {self.claim}: {self.ours:.3f} against "
            f"{self.baseline:.3f}, margin {self.margin:+.3f} [{self.low:+.3f}, {self.high:+.3f}], goal "
            f"{self.goal:+.3f}, n = {self.n}: {'holds' if self.holds else 'does not hold'}"
        )


def bears_out(margin: float, low: float, goal: float) -> bool:
    """Whether a margin with this lower end reaches the goal; NaN never does."""
    return (margin >= goal and low > 0) if goal > 0 else low >= goal


@dataclass(frozen=True)
class Margin:
    """Two figures, how much better the first is, and the 95 % interval of that."""

    ours: float
    baseline: float
    margin: float
    low: float
    high: float
    n: int


def margin_of(
    ours: Each, baseline: Each | float, *, seed: int = 0, lower_is_better: bool = False, same_cases: bool = True
) -> Margin:
    """How much better one score is than another, or than a number.

    Args:
        ours: Score with the mechanism.
        baseline: Score without it, or the number to be reached.
        seed: Seed of the resampling.
        lower_is_better: True for errors.
        same_cases: Whether both scores are of the same cases; otherwise their errors are added as independent.

    Raises:
        BadInputError: The scores do not pair.
    """
    if isinstance(baseline, Each) and type(baseline) is not type(ours):
        raise BadInputError("scores do not pair", why=f"{type(ours).__name__} and {type(baseline).__name__}")
    if isinstance(ours, Ranking):
        found = _rankings(ours, baseline, same_cases)
    elif isinstance(baseline, float | int):
        found = _above(ours, float(baseline), seed)
    else:
        _require_pairs(ours, baseline)
        found = _worst(ours, baseline, seed) if isinstance(ours, Strata) else _means(ours, baseline, seed)
    if not lower_is_better:
        return found
    return Margin(found.ours, found.baseline, -found.margin, -found.high, -found.low, found.n)


def _require_pairs(a: Each, b: Each) -> None:
    if np.shape(a.values) != np.shape(b.values) or np.ndim(a.values) != 1 or not len(a.values):
        raise BadInputError("scores do not pair", why=f"shapes {np.shape(a.values)} and {np.shape(b.values)}")
    if len(a.groups) != len(a.values):
        raise BadInputError("scores and groups do not pair", why=f"{len(a.values)} and {len(a.groups)}")


def _means(ours: Each, baseline: Each, seed: int) -> Margin:
    a, b = np.asarray(ours.values, np.float64), np.asarray(baseline.values, np.float64)
    drawn = bootstrap_mean(a - b, groups=ours.groups, resamples=RESAMPLES, seed=seed).interval
    return Margin(float(a.mean()), float(b.mean()), float((a - b).mean()), drawn.low, drawn.high, len(a))


def _worst(ours: Strata, baseline: Each, seed: int) -> Margin:
    first, second = (np.asarray(s.values, np.float64) for s in (ours, baseline))
    # With a patient for each case the strata's sizes are kept, which is narrower and fails on no resample.
    patients = ours.groups if len(set(ours.groups)) < len(ours.groups) else None
    drawn = worst_group_difference(first, second, ours.strata, patients=patients, resamples=RESAMPLES, seed=seed)
    a, b = (min(group_means(v, ours.strata).values()) for v in (first, second))
    return Margin(a, b, a - b, drawn.interval.low, drawn.interval.high, len(first))


def _above(ours: Each, wanted: float, seed: int) -> Margin:
    values = np.asarray(ours.values, np.float64)
    share = bool(np.isin(values, (0, 1)).all())
    found = (bootstrap_share if share else bootstrap_mean)(values, groups=ours.groups, resamples=RESAMPLES, seed=seed)
    return Margin(found.value, wanted, found.value - wanted, found.low - wanted, found.high - wanted, len(values))


def _rankings(ours: Ranking, baseline: Each | float, same_cases: bool) -> Margin:
    if isinstance(baseline, float | int):
        found = clustered_auroc(ours.truth, ours.values, ours.groups)
        return Margin(
            found.auc, float(baseline), found.auc - baseline, found.low - baseline, found.high - baseline,
            len(ours.values),
        )  # fmt: skip
    assert isinstance(baseline, Ranking)  # noqa: S101 # for the type checker: the types were compared
    if not same_cases:
        a, b = (clustered_auroc(s.truth, s.values, s.groups) for s in (ours, baseline))
        return _apart(a, b, len(ours.values))
    _require_pairs(ours, baseline)
    both = clustered_auroc_difference(ours.truth, ours.values, baseline.values, ours.groups)
    return Margin(both.first, both.second, both.difference, both.low, both.high, len(ours.values))


def _apart(a: AucEstimate, b: AucEstimate, n: int) -> Margin:
    """Two areas on different cases: their errors add."""
    gap, half = a.auc - b.auc, Z * float(np.hypot(a.se, b.se))
    return Margin(a.auc, b.auc, gap, gap - half, gap + half, n)
