"""Bootstrap by weights on presorted scores: a resample is a row of counts, so nothing is sorted or gathered twice.

Drawing n cases with replacement gives each case a multinomial count. The scores are sorted once; a resampled AUC is
then one cumulative sum and one dot product over the counts. Cases can be drawn within strata (the classes) and by
cluster (all images of a patient together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_labels, binary_scores, finite, fraction
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.intervals import wilson

__all__ = [
    "Bootstrap",
    "ScoreBoard",
    "Statistic",
    "bootstrap",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_share",
    "bootstrap_weighted",
    "resample_counts",
]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Method = Literal["percentile", "basic", "bca"]
Statistic = Callable[[NDArray[Any]], Floats]
"""From counts of shape `(b, n)` to one value a row; NaN where it is undefined."""

_CHUNK = 1 << 20  # cells of a block of counts: 8 MB, about the size of a second-level cache


@dataclass(frozen=True, eq=False, kw_only=True)
class Bootstrap(Measure):
    """A bootstrapped statistic: its value on the cases as they are, its interval, and what was drawn.

    Args:
        replicates: The resampled values, undefined ones left out, shape `(<= resamples,)`.
        undefined: Resamples in which the statistic did not exist (a class or a group was not drawn).
    """

    replicates: Floats = field(repr=False)
    undefined: int

    @property
    def se(self) -> float:
        """Standard deviation of the replicates."""
        return float(self.replicates.std(ddof=1))

    @property
    def estimate(self) -> float:
        """`value`."""
        return self.value

    @property
    def interval(self) -> Measure:
        """Itself."""
        return self


def _codes(groups: ArrayLike | None, n: int, name: str) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(n)
    array = np.asarray(groups)
    if array.shape != (n,):
        raise BadInputError(f"cannot use {name}", why=f"shape {array.shape}, one value for each of {n} cases is needed")
    return np.unique(array, return_inverse=True)[1]


def resample_counts(
    n: int,
    resamples: int,
    seed: int = 0,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Iterator[Counts]:
    """Counts of the cases in each resample, in blocks.

    Args:
        n: Cases.
        resamples: Resamples in all.
        seed: Seed; the same seed gives the same resamples.
        strata: A stratum for each case; the number of draws from each is kept. With groups, a group belongs to the
            highest stratum among its cases (a patient with one positive image is a positive patient).
        groups: A cluster (patient) for each case; clusters are drawn whole.

    Yields:
        Counts of shape `(b, n)`.

    Raises:
        BadInputError: Wrong shapes or numbers.
    """
    if n < 1 or resamples < 1:
        raise BadInputError("nothing to resample", why=f"{n} cases, {resamples} resamples")
    rng = np.random.Generator(np.random.SFC64(seed))
    unit = _codes(groups, n, "groups")
    units = int(unit.max()) + 1
    stratum = np.zeros(units, dtype=np.intp)
    if strata is not None:
        np.maximum.at(stratum, unit, _codes(strata, n, "strata"))
    members = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    block = max(1, _CHUNK // max(n, units))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = np.empty((size, units), dtype=np.int64)
        for inside in members:
            k = len(inside)
            small = np.uint16 if k <= 1 << 16 else np.uint32
            picks = rng.integers(0, k, size=(size, k), dtype=small)
            if len(members) == 1:
                for row in range(size):
                    drawn[row] = np.bincount(picks[row], minlength=k)
            else:
                for row in range(size):
                    drawn[row, inside] = np.bincount(picks[row], minlength=k)
        yield drawn if groups is None else drawn[:, unit]


class ScoreBoard:
    """Scores sorted once, ready for many weightings of their cases.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Scores, shape `(n,)`.

    Raises:
        BadInputError: One class, NaN, or unequal lengths.
    """

    def __init__(self, y: ArrayLike, score: ArrayLike) -> None:
        self.labels, self.scores = binary_scores(y, score)
        self.positive = np.flatnonzero(self.labels)
        self.negative = np.flatnonzero(~self.labels)
        self.negative = self.negative[np.argsort(self.scores[self.negative], kind="stable")]
        ranked = self.scores[self.negative]
        self._below = np.searchsorted(ranked, self.scores[self.positive], side="left")
        self._upto = np.searchsorted(ranked, self.scores[self.positive], side="right")
        self._tied = bool((self._below != self._upto).any())
        self._order = np.argsort(-self.scores, kind="stable")
        ordered = self.scores[self._order]
        self._last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)

    def auroc(self, counts: NDArray[Any]) -> Floats:
        """AUROC under each row of counts `(b, n)`; NaN where a class has no count."""
        out = np.empty(len(counts))
        size = len(self.negative)
        before = np.zeros(size + 1, dtype=counts.dtype)
        for row, count in enumerate(counts):
            np.cumsum(count[self.negative], out=before[1:])
            mine = count[self.positive]
            total = float(mine.sum()) * float(before[-1])
            below = before[self._below]
            won = float(mine @ below)
            if self._tied:
                won = (won + float(mine @ before[self._upto])) / 2
            out[row] = won / total if total > 0 else np.nan
        return np.asarray(np.minimum(out, 1.0))

    def auprc(self, counts: NDArray[Any]) -> Floats:
        """Average precision under each row of counts `(b, n)`; NaN without positives."""
        out = np.empty(len(counts))
        positive = self.labels[self._order]
        for row, count in enumerate(counts):
            ordered = count[self._order]
            tp = np.cumsum(ordered * positive)[self._last]
            called = np.cumsum(ordered)[self._last]
            step = np.diff(tp, prepend=0)
            out[row] = float((step * tp / np.maximum(called, 1e-300)).sum()) / tp[-1] if tp[-1] > 0 else np.nan
        return np.asarray(np.minimum(out, 1.0))

    def _share(self, counts: NDArray[Any], hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> Floats:
        part, whole = counts @ (hit & among).astype(np.float64), counts @ among.astype(np.float64)
        return np.asarray(np.divide(part, whole, out=np.full(len(counts), np.nan), where=whole > 0))

    def sensitivity(self, counts: NDArray[Any], threshold: float) -> Floats:
        """Sensitivity of `score >= threshold` under each row of counts."""
        return self._share(counts, self.scores >= threshold, self.labels)

    def specificity(self, counts: NDArray[Any], threshold: float) -> Floats:
        """Specificity of `score >= threshold` under each row of counts."""
        return self._share(counts, self.scores < threshold, ~self.labels)

    def ppv(self, counts: NDArray[Any], threshold: float) -> Floats:
        """Positive predictive value of `score >= threshold` under each row of counts."""
        return self._share(counts, self.labels, self.scores >= threshold)

    def npv(self, counts: NDArray[Any], threshold: float) -> Floats:
        """Negative predictive value of `score >= threshold` under each row of counts."""
        return self._share(counts, ~self.labels, self.scores < threshold)

    def specificity_at(self, counts: NDArray[Any], sensitivity: float) -> Floats:
        """Best specificity of a rule with at least that sensitivity, the cut-off being chosen anew in each row."""
        out = np.empty(len(counts))
        positive = self.labels[self._order]
        for row, count in enumerate(counts):
            ordered = count[self._order]
            tp = np.cumsum(ordered * positive)[self._last]
            fp = np.cumsum(ordered)[self._last] - tp
            if tp[-1] <= 0 or fp[-1] <= 0:
                out[row] = np.nan
                continue
            first = int(np.argmax(tp / tp[-1] >= sensitivity))
            out[row] = 1 - fp[first] / fp[-1]
        return out

    def statistic(self, name: str, value: float | None = None) -> Statistic:
        """A statistic by name.

        Args:
            name: `auroc` or `auprc`; or, with a value, `sensitivity`, `specificity`, `ppv`, `npv`, `specificity_at`.
            value: A threshold; for `specificity_at` a sensitivity.

        Returns:
            A function of counts `(b, n)`.

        Raises:
            UsageError: Unknown name, or a value missing or in excess.
        """
        plain: dict[str, Statistic] = {"auroc": self.auroc, "auprc": self.auprc}
        valued: dict[str, Callable[[NDArray[Any], float], Floats]] = {
            "sensitivity": self.sensitivity,
            "specificity": self.specificity,
            "ppv": self.ppv,
            "npv": self.npv,
            "specificity_at": self.specificity_at,
        }
        if name in plain and value is None:
            return plain[name]
        if name in valued and value is not None:
            chosen, number = valued[name], float(value)
            return lambda counts: chosen(counts, number)
        raise UsageError(
            "cannot bootstrap that statistic",
            item=name if value is None else f"{name}={value}",
            fix=f"use {', '.join(plain)} without a value or {', '.join(valued)} with one",
        )


def bootstrap_weighted(
    statistic: Statistic,
    n: int,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    method: Method = "percentile",
    level: float = 0.95,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Bootstrap:
    """Bootstrap any statistic of weighted cases.

    Args:
        statistic: From counts `(b, n)` to values `(b,)`.
        n: Cases.
        resamples: Resamples.
        seed: Seed.
        strata: See `resample_counts`.
        groups: See `resample_counts`.
        method: `percentile`; `basic`, its mirror image at the estimate, for statistics that resampling pushes to one
            side (Davison and Hinkley 1997, 5.2); or `bca`: bias-corrected and accelerated (Efron, J Am Stat Assoc
            1987), the acceleration from leaving out each case (or each group) once.
        level: Confidence level.
        limits: Range of the statistic; the interval is clipped to it.

    Returns:
        Estimate, interval and replicates.

    Raises:
        BadInputError: The statistic is undefined on the cases, or in more than one resample out of twenty.
        UsageError: Unknown method.
    """
    if method not in ("percentile", "basic", "bca"):
        raise UsageError("unknown bootstrap interval", item=str(method), fix="use percentile, basic or bca")
    estimate = float(statistic(np.ones((1, n), dtype=np.int64))[0])
    if not np.isfinite(estimate):
        raise BadInputError("nothing to bootstrap", why="the statistic is undefined on these cases")
    blocks = [statistic(counts) for counts in resample_counts(n, resamples, seed, strata, groups)]
    drawn = np.concatenate(blocks)
    replicates = drawn[np.isfinite(drawn)]
    undefined = len(drawn) - len(replicates)
    if undefined > 0.05 * len(drawn):
        raise BadInputError(
            "the bootstrap is not usable",
            why=f"the statistic is undefined in {undefined} of {len(drawn)} resamples",
            fix="draw within the classes (stratified) or use more cases or patients",
        )
    tail = (1 - fraction(level, "level", open_low=True, open_high=True)) / 2
    tails = (tail, 1 - tail)
    if method == "bca":
        tails = _bca_tails(statistic, n, groups, estimate, replicates, tail)
    low, high = np.quantile(replicates, tails)
    if method == "basic":
        low, high = 2 * estimate - high, 2 * estimate - low
    low, high = np.clip((low, high), *limits)
    kind = (
        f"bootstrap {method}{', clustered' if groups is not None else ''}{', stratified' if strata is not None else ''}"
    )
    patients = None if groups is None else len(np.unique(np.asarray(groups)))
    return Bootstrap(
        estimate, float(low), float(high), level, kind, n, patients, replicates=replicates, undefined=undefined
    )


def _bca_tails(
    statistic: Statistic, n: int, groups: ArrayLike | None, estimate: float, replicates: Floats, tail: float
) -> tuple[float, float]:
    normal = NormalDist()
    below = (np.sum(replicates < estimate) + 0.5 * np.sum(replicates == estimate)) / len(replicates)
    if not 0 < below < 1:
        return tail, 1 - tail
    bias = normal.inv_cdf(float(below))
    unit = _codes(groups, n, "groups")
    units = int(unit.max()) + 1
    left_out: list[Floats] = []
    block = max(1, _CHUNK // n)
    for start in range(0, units, block):
        ids = np.arange(start, min(start + block, units))
        left_out.append(statistic((unit[None, :] != ids[:, None]).astype(np.int64)))
    influence = np.concatenate(left_out)
    influence = influence[np.isfinite(influence)]
    spread = influence.mean() - influence
    square = float((spread**2).sum())
    acceleration = float((spread**3).sum()) / (6 * square**1.5) if square > 0 else 0.0

    def shifted(p: float) -> float:
        z = bias + normal.inv_cdf(p)
        return normal.cdf(bias + z / (1 - acceleration * z))

    return shifted(tail), shifted(1 - tail)


def bootstrap(
    y: ArrayLike,
    score: ArrayLike,
    statistic: str = "auroc",
    value: float | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    stratified: bool = True,
    groups: ArrayLike | None = None,
    method: Method = "percentile",
    level: float = 0.95,
) -> Bootstrap:
    """Bootstrap a two-class statistic.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Scores, shape `(n,)`.
        statistic: Name, see `ScoreBoard.statistic`.
        value: Its threshold or sensitivity where it has one.
        resamples: Resamples.
        seed: Seed.
        stratified: Keep the numbers of positives and negatives (of positive and negative groups).
        groups: Patient of each case; patients are then drawn whole.
        method: See `bootstrap_weighted`.
        level: Confidence level.

    Returns:
        Estimate, interval and replicates.

    Raises:
        BadInputError: Wrong input, or too many undefined resamples.
        UsageError: Unknown statistic or method.
    """
    board = ScoreBoard(y, score)
    return bootstrap_weighted(
        board.statistic(statistic, value),
        len(board.labels),
        resamples=resamples,
        seed=seed,
        strata=board.labels if stratified else None,
        groups=groups,
        method=method,
        level=level,
        limits=(0.0, 1.0),
    )


def bootstrap_difference(
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    statistic: str = "auroc",
    value: float | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    stratified: bool = True,
    groups: ArrayLike | None = None,
    method: Method = "percentile",
    level: float = 0.95,
) -> Bootstrap:
    """Bootstrap the difference `a - b` of two models on the same cases; arguments as `bootstrap`."""
    first, second = ScoreBoard(y, score_a), ScoreBoard(y, score_b)
    one, two = first.statistic(statistic, value), second.statistic(statistic, value)
    return bootstrap_weighted(
        lambda counts: np.asarray(one(counts) - two(counts)),
        len(first.labels),
        resamples=resamples,
        seed=seed,
        strata=first.labels if stratified else None,
        groups=groups,
        method=method,
        level=level,
        limits=(-1.0, 1.0),
    )


def bootstrap_mean(
    values: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    method: Method = "percentile",
    level: float = 0.95,
) -> Bootstrap:
    """Bootstrap the mean of per-case values (Dice, F1, distance ...), shape `(n,)`; arguments as `bootstrap`."""
    array = finite(values, "values")
    if len(array) == 0:
        raise BadInputError("nothing to measure", why="values are empty")

    def mean(counts: NDArray[Any]) -> Floats:
        return np.asarray((counts @ array) / counts.sum(axis=1))

    return bootstrap_weighted(
        mean, len(array), resamples=resamples, seed=seed, groups=groups, method=method, level=level
    )


def bootstrap_share(
    hit: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Measure:
    """The share of hits among cases, patients drawn whole.

    Where all are hits, or none, resampling gives an interval without width; there it is Wilson's, with the number of
    patients as n (one patient's cases may well be alike).

    Args:
        hit: 0/1 of each case, shape `(n,)`.
        resamples: Resamples.
        seed: Seed.
        groups: Patient of each case.
        level: Confidence level.

    Raises:
        BadInputError: No case, or values other than 0 and 1.
    """
    hits = binary_labels(hit, "hit")
    if 0 < hits.sum() < len(hits):
        return bootstrap_mean(hits, resamples=resamples, seed=seed, groups=groups, level=level)
    if not len(hits):
        raise BadInputError("nothing to measure", why="values are empty")
    patients = None if groups is None else int(_codes(groups, len(hits), "groups").max()) + 1
    units = len(hits) if patients is None else patients
    exact = wilson(int(hits[0]) * units, units, level)
    kind = "wilson" if patients is None else "wilson over patients"
    return Measure(float(hits[0]), exact.low, exact.high, level, kind, len(hits), patients)
