"""How well probabilities mean what they say: Brier score, log loss, calibration error, reliability curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_scores, probabilities
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import metric
from vesalius.metrics.statistics.bootstrap import bootstrap_weighted
from vesalius.metrics.statistics.intervals import wilson

__all__ = ["ReliabilityCurve", "ace", "brier", "ece", "ece_interval", "log_loss", "mce", "reliability_curve"]

Floats = NDArray[np.float64]
Binning = Literal["width", "mass"]
_EDGES = "Values outside [0, 1] (logits), NaN, empty input and labels other than 0/1 are errors; one class is allowed."


def _pair(y: ArrayLike, probability: ArrayLike) -> tuple[NDArray[np.bool_], Floats]:
    return binary_scores(y, probabilities(probability), both_classes=False)


@metric(
    "brier",
    definition="Mean squared difference between the probability and the outcome 0/1.",
    source="Brier, Mon Weather Rev 1950",
    higher_is_better=False,
    edge_cases=_EDGES,
)
def brier(y: ArrayLike, probability: ArrayLike) -> float:
    """Brier score of two-class probabilities.

    Args:
        y: Labels 0/1, shape `(n,)`.
        probability: Probability of class 1, shape `(n,)`.

    Returns:
        Score in [0, 1].

    Raises:
        BadInputError: Values that are not probabilities, or wrong labels.
    """
    labels, p = _pair(y, probability)
    return float(np.mean((p - labels) ** 2))


@metric(
    "log_loss",
    definition="Mean of -log(probability given to the true class), natural logarithm.",
    source="Good, J R Stat Soc B 1952",
    higher_is_better=False,
    unit="nat",
    range=(0.0, float("inf")),
    edge_cases=_EDGES + " Probabilities are clipped to [1e-15, 1 - 1e-15], so a certain and wrong answer costs 34.5.",
)
def log_loss(y: ArrayLike, probability: ArrayLike, eps: float = 1e-15) -> float:
    """Cross-entropy of two-class probabilities, arguments as `brier`; `eps` clips certainty."""
    labels, p = _pair(y, probability)
    p = np.clip(p, eps, 1 - eps)
    return float(-np.mean(np.where(labels, np.log(p), np.log1p(-p))))


@dataclass(frozen=True)
class ReliabilityCurve:
    """Observed frequency against stated probability, empty bins left out.

    Attributes:
        predicted: Mean probability of each bin, shape `(k,)`.
        observed: Share of positives in each bin.
        count: Cases in each bin.
        shares: `observed` with Wilson intervals.
        edges: Bin edges, lowest and highest included.
    """

    predicted: Floats
    observed: Floats
    count: NDArray[np.int_]
    shares: tuple[Measure, ...]
    edges: Floats

    @property
    def gap(self) -> Floats:
        """Absolute difference of observed and predicted in each bin."""
        return np.asarray(np.abs(self.observed - self.predicted))


def _bins(p: Floats, bins: int, binning: Binning) -> tuple[NDArray[np.intp], Floats]:
    """Bin index of each probability and the edges."""
    if bins < 1:
        raise BadInputError("cannot make bins", why=f"{bins} bins asked for")
    if binning == "width":
        edges = np.linspace(0.0, 1.0, bins + 1)
        return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, bins - 1), edges
    if binning == "mass":
        # Equal values always share a bin: ties are never split by their order in the file.
        edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, bins + 1)))
        if len(edges) == 1:
            return np.zeros(len(p), dtype=np.intp), np.repeat(edges, 2)
        return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, len(edges) - 2), edges
    raise UsageError("unknown binning", item=str(binning), fix="use width or mass")


def reliability_curve(
    y: ArrayLike, probability: ArrayLike, bins: int = 10, binning: Binning = "width", level: float = 0.95
) -> ReliabilityCurve:
    """Reliability (calibration) curve.

    Args:
        y: Labels 0/1, shape `(n,)`.
        probability: Probability of class 1, shape `(n,)`.
        bins: Number of bins.
        binning: `width` for equal widths on [0, 1], bins open below and closed above; `mass` for equal numbers of
            cases.
        level: Level of the Wilson intervals.

    Returns:
        The curve over the bins that hold a case.

    Raises:
        BadInputError: Values that are not probabilities, or wrong labels.
    """
    predicted, observed, count, edges = _binned(y, probability, bins, binning)
    shares = tuple(wilson(round(o * c), int(c), level) for o, c in zip(observed, count, strict=True))
    return ReliabilityCurve(predicted, observed, count, shares, edges)


def _binned(
    y: ArrayLike, probability: ArrayLike, bins: int, binning: Binning
) -> tuple[Floats, Floats, NDArray[np.int_], Floats]:
    """Mean probability, observed share and number of cases of each bin that holds a case, and the edges of all."""
    labels, p = _pair(y, probability)
    index, edges = _bins(p, bins, binning)
    size = len(edges) - 1
    count = np.bincount(index, minlength=size)
    hits = np.bincount(index, weights=labels, minlength=size)
    total = np.bincount(index, weights=p, minlength=size)
    keep = count > 0
    return total[keep] / count[keep], hits[keep] / count[keep], count[keep], edges


def _gaps(y: ArrayLike, probability: ArrayLike, bins: int, binning: Binning) -> tuple[Floats, NDArray[np.int_]]:
    predicted, observed, count, _ = _binned(y, probability, bins, binning)
    return np.abs(observed - predicted), count


@metric(
    "ece",
    definition="Expected calibration error: mean over equal-width bins of |observed share - mean "
    "probability|, weighted by "
    "the cases in the bin; bins are (a, b], the first holds 0.",
    source="Naeini, Cooper and Hauskrecht, AAAI 2015, on the probability of class 1",
    higher_is_better=False,
    edge_cases=_EDGES + " Empty bins count nothing.",
)
def ece(y: ArrayLike, probability: ArrayLike, bins: int = 15, binning: Binning = "width") -> float:
    """Expected calibration error, arguments as `reliability_curve`."""
    gaps, count = _gaps(y, probability, bins, binning)
    return float(np.average(gaps, weights=count))


def ece_interval(
    y: ArrayLike,
    probability: ArrayLike,
    bins: int = 15,
    binning: Binning = "width",
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Measure:
    """Expected calibration error with an interval.

    Chance alone parts observed from stated in every bin, so the error of a few cases is too large and resampling makes
    it larger still: a percentile interval lies above the truth. This one is mirrored at the estimate (the basic
    bootstrap), and its lower end is 0 where calibration is not refuted: where the error is no larger than that of
    outcomes drawn from the stated probabilities (Broecker and Smith, Weather Forecast 2007), or of the same cases with
    the signs of each patient's deviations drawn at random.

    Args:
        y: Labels 0/1, shape `(n,)`.
        probability: Probability of class 1, shape `(n,)`.
        bins: Number of bins.
        binning: See `reliability_curve`; the bins stay as they are in the resamples.
        groups: Patient of each case; patients are drawn whole.
        resamples: Resamples, and sign flips.
        seed: Seed.
        level: Confidence level.

    Raises:
        BadInputError: Values that are not probabilities, or wrong labels.
    """
    labels, p = _pair(y, probability)
    index, edges = _bins(p, bins, binning)
    n = len(p)
    member = np.zeros((n, len(edges) - 1))
    member[np.arange(n), index] = labels - p

    def statistic(counts: NDArray[np.int64]) -> Floats:
        return np.asarray(np.abs(counts @ member).sum(axis=1) / counts.sum(axis=1))

    found = bootstrap_weighted(
        statistic, n, resamples=resamples, seed=seed, groups=groups, method="basic", level=level, limits=(0.0, 1.0)
    )
    unit = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    by_chance = _error_by_chance(p, member, unit, resamples, seed, level)
    low = 0.0 if found.value <= by_chance else found.low
    method = found.method + ("; calibration not refuted" if found.value <= by_chance else "")
    return Measure(found.value, low, max(found.high, low), level, method, n, found.patients)


def _error_by_chance(
    p: Floats, member: Floats, unit: NDArray[np.intp], resamples: int, seed: int, level: float
) -> float:
    """The error that chance alone reaches at this level; see `ece_interval`.

    Args:
        p: `(n,)` probabilities.
        member: `(n, bins)`: the deviation of each case in the column of its bin.
        unit: `(n,)` number of each case's patient.
        resamples: Draws of either kind.
        seed: Seed.
        level: Level.
    """
    rng = np.random.default_rng(seed)
    n = len(p)
    inside = (member != 0).astype(np.float64)
    by_patient = np.zeros((int(unit.max()) + 1, member.shape[1]))
    np.add.at(by_patient, unit, member)
    drawn, flipped = [], []
    block = max(1, (1 << 20) // n)  # a block of 8 MB
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        outcome = rng.random((size, n)) < p
        drawn.append(np.abs((outcome - p) @ inside).sum(axis=1))
        signs = rng.choice((-1.0, 1.0), size=(size, len(by_patient)))
        flipped.append(np.abs(signs @ by_patient).sum(axis=1))
    return max(float(np.quantile(np.concatenate(parts), level)) for parts in (drawn, flipped)) / n


@metric(
    "ace",
    definition="Adaptive calibration error: plain mean of |observed share - mean probability| over bins of equal mass.",
    source="Nixon et al., CVPR Workshops 2019, two-class case",
    higher_is_better=False,
    edge_cases=_EDGES + " Equal probabilities stay in one bin, so there may be fewer bins than asked for.",
)
def ace(y: ArrayLike, probability: ArrayLike, bins: int = 15) -> float:
    """Adaptive calibration error, arguments as `reliability_curve`."""
    return float(np.mean(_gaps(y, probability, bins, "mass")[0]))


@metric(
    "mce",
    definition="Maximum calibration error: largest |observed share - mean probability| over equal-width bins.",
    source="Naeini, Cooper and Hauskrecht, AAAI 2015",
    higher_is_better=False,
    edge_cases=_EDGES + " Empty bins count nothing.",
)
def mce(y: ArrayLike, probability: ArrayLike, bins: int = 15) -> float:
    """Maximum calibration error, arguments as `reliability_curve`."""
    return float(np.max(_gaps(y, probability, bins, "width")[0]))
