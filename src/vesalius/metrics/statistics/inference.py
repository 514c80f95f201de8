"""Tests and planning: DeLong for one or two AUCs, paired permutation, Holm and Benjamini-Hochberg, sample sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_scores, finite, fraction, same_length
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.bootstrap import ScoreBoard
from vesalius.metrics.statistics.intervals import clopper_pearson, normal_quantile

__all__ = [
    "AucEstimate",
    "Comparison",
    "benjamini_hochberg",
    "delong",
    "delong_paired",
    "holm",
    "permutation_auroc",
    "permutation_paired",
    "sample_size_auroc",
    "sample_size_proportion",
    "sample_size_rate",
]

Floats = NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True, kw_only=True)
class AucEstimate(Measure):
    """An AUROC with its DeLong interval, clipped to [0, 1].

    Args:
        se: Standard error.
        positives: Positive cases.
        negatives: Negative cases.
    """

    se: float
    positives: int
    negatives: int

    @property
    def auc(self) -> float:
        """`value`."""
        return self.value

    @property
    def interval(self) -> Measure:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True)
class Comparison(Measure):
    """Two paired values compared: the number is `first - second`; without an interval where the test gives none.

    Args:
        first: Value of the first model.
        second: Value of the second model.
        statistic: z, or the difference itself for a permutation test.
        p: p-value of the hypothesis of no difference.
    """

    first: float
    second: float
    statistic: float
    p: float

    @property
    def difference(self) -> float:
        """`value`."""
        return self.value

    @property
    def interval(self) -> Measure | None:
        """Itself, where it has an interval."""
        return self if self.has_interval else None


def _midranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    upto = np.cumsum(counts)
    return np.asarray((upto - (counts - 1) / 2)[inverse])


def _components(labels: NDArray[np.bool_], scores: Floats) -> tuple[float, Floats, Floats]:
    """AUC and its structural components of the positives and the negatives (Sun and Xu, IEEE Sig Proc Lett 2014)."""
    positive, negative = scores[labels], scores[~labels]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        raise BadInputError("no DeLong interval", why=f"{m} positive and {n} negative cases, two of each are needed")
    ranks = _midranks(scores)
    above = (ranks[labels] - _midranks(positive)) / n
    below = 1 - (ranks[~labels] - _midranks(negative)) / m
    return float(above.mean()), above, below


def delong(
    y: ArrayLike, score: ArrayLike, level: float = 0.95, scale: Literal["linear", "logit"] = "linear"
) -> AucEstimate:
    """AUROC with the standard error of DeLong, DeLong and Clarke-Pearson (Biometrics 1988).

    Perfect separation has a DeLong variance of zero, which says nothing; the interval then is the exact one of the
    smaller class (all of it ranked right), which is conservative, and its method says so.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Scores, shape `(n,)`.
        level: Confidence level.
        scale: `linear` (clipped to [0, 1]) or `logit`, which never leaves (0, 1).

    Returns:
        The estimate.

    Raises:
        BadInputError: Fewer than two cases of a class, NaN, or unequal lengths.
        UsageError: Unknown scale.
    """
    if scale not in ("linear", "logit"):
        raise UsageError("unknown scale", item=str(scale), fix="use linear or logit")
    labels, scores = binary_scores(y, score)
    auc, above, below = _components(labels, scores)
    m, n = len(above), len(below)
    se = math.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)
    z = normal_quantile(level)
    if se == 0 and auc in (0.0, 1.0):
        exact = clopper_pearson(min(m, n) if auc == 1.0 else 0, min(m, n), level)
        low, high, method = exact.low, exact.high, "exact bound of the smaller class (perfect ranking)"
    elif scale == "logit" and 0 < auc < 1:
        centre, half = math.log(auc / (1 - auc)), z * se / (auc * (1 - auc))
        low, high = (1 / (1 + math.exp(-(centre + side * half))) for side in (-1, 1))
        method = "delong, logit scale"
    else:
        low, high, method = max(0.0, auc - z * se), min(1.0, auc + z * se), "delong"
    return AucEstimate(
        auc, low, high, level, method, m + n, name="auroc", higher_is_better=True, se=se, positives=m, negatives=n
    )


def delong_paired(y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, level: float = 0.95) -> Comparison:
    """Two correlated AUROCs compared by DeLong's test.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score_a: Scores of the first model on these cases.
        score_b: Scores of the second model.
        level: Level of the interval of the difference.

    Returns:
        The comparison, two-sided; models that rank alike have p = 1.

    Raises:
        BadInputError: Wrong input, or a difference without variance (then use `permutation_auroc`).
    """
    labels, first = binary_scores(y, score_a)
    _, second = binary_scores(y, score_b)
    auc_a, above_a, below_a = _components(labels, first)
    auc_b, above_b, below_b = _components(labels, second)
    above, below = above_a - above_b, below_a - below_b
    se = math.sqrt(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))
    difference = auc_a - auc_b
    if se == 0 and difference != 0:
        raise BadInputError(
            "DeLong's test is undefined", why="the difference has no variance", fix="use permutation_auroc"
        )
    statistic = difference / se if se > 0 else 0.0
    half = normal_quantile(level) * se
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    p = 2 * NormalDist().cdf(-abs(statistic))
    return Comparison(
        difference, low, high, level, "delong", len(labels), name="auroc difference", higher_is_better=True,
        first=auc_a, second=auc_b, statistic=statistic, p=p,
    )  # fmt: skip


def _p_value(null: Floats, observed: float, alternative: Alternative, exact: bool) -> float:
    slack = 1e-12 * max(1.0, abs(observed))
    if alternative == "two-sided":
        extreme = int(np.sum(np.abs(null) >= abs(observed) - slack))
    elif alternative == "greater":
        extreme = int(np.sum(null >= observed - slack))
    elif alternative == "less":
        extreme = int(np.sum(null <= observed + slack))
    else:
        raise UsageError("unknown alternative", item=str(alternative), fix="use two-sided, greater or less")
    return extreme / len(null) if exact else (extreme + 1) / (len(null) + 1)


def _flips(n: int, resamples: int, seed: int) -> tuple[NDArray[np.bool_], bool]:
    """Which pairs are swapped, `(resamples, n)`; all of them when there are no more than asked for."""
    if n <= 20 and 2**n <= resamples:
        codes = np.arange(2**n, dtype=np.uint32)
        return (codes[:, None] >> np.arange(n, dtype=np.uint32) & 1).astype(bool), True
    rng = np.random.default_rng(seed)
    packed = rng.integers(0, 256, size=(resamples, (n + 7) // 8), dtype=np.uint8)
    return np.unpackbits(packed, axis=1, count=n).astype(bool), False


def _clusters(groups: ArrayLike | None, n: int) -> NDArray[np.intp]:
    if groups is None:
        return np.arange(n)
    codes = np.asarray(groups)
    if codes.shape != (n,):
        raise BadInputError("cannot use groups", why=f"shape {codes.shape}, one value for each of {n} cases is needed")
    return np.unique(codes, return_inverse=True)[1]


def permutation_paired(
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Paired permutation test of the mean difference of per-case values (sign flips).

    Corpus metrics cost nothing here: each case is scored once and only the vector of differences is permuted.

    Args:
        first: Values of the first model, shape `(n,)`.
        second: Values of the second model on the same cases.
        resamples: Random flips; all `2^n` are taken instead when there are no more than that.
        seed: Seed.
        groups: Patient of each case; the cases of a patient are flipped together.
        alternative: `two-sided`, `greater` (first larger) or `less`.

    Returns:
        The comparison; p counts the observed arrangement, so it is never zero.

    Raises:
        BadInputError: Wrong input.
    """
    a, b = finite(first, "first"), finite(second, "second")
    n = same_length(("first", a), ("second", b))
    unit = _clusters(groups, n)
    totals = np.bincount(unit, weights=a - b)
    observed = float(totals.sum() / n)
    swapped, exact = _flips(len(totals), resamples, seed)
    null = (totals.sum() - 2 * (swapped @ totals)) / n
    p = _p_value(null, observed, alternative, exact)
    method = f"paired permutation ({'all' if exact else 'random'} {len(null)})"
    return Comparison(
        observed, method=method, n=n, patients=None if groups is None else len(totals), name="mean difference",
        first=float(a.mean()), second=float(b.mean()), statistic=observed, p=p,
    )  # fmt: skip


def permutation_auroc(
    y: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    groups: ArrayLike | None = None,
    alternative: Alternative = "two-sided",
) -> Comparison:
    """Paired permutation test of two AUROCs: the two models' ranks of a case are swapped at random.

    Scores become midranks first, so that the two models share a scale (Venkatraman and Begg, Biometrika 1996, with the
    AUC as statistic).

    Args:
        y: Labels 0/1, shape `(n,)`.
        score_a: Scores of the first model.
        score_b: Scores of the second model.
        resamples: Random swaps; all `2^n` when there are no more than that.
        seed: Seed.
        groups: Patient of each case; the cases of a patient are swapped together.
        alternative: `two-sided`, `greater` or `less`.

    Returns:
        The comparison.

    Raises:
        BadInputError: Wrong input.
    """
    labels, first = binary_scores(y, score_a)
    _, second = binary_scores(y, score_b)
    n = len(labels)
    board = ScoreBoard(np.tile(labels, 2), np.concatenate([_midranks(first), _midranks(second)]))
    unit = _clusters(groups, n)
    swapped, exact = _flips(int(unit.max()) + 1, resamples, seed)

    def difference(rows: NDArray[np.bool_]) -> Floats:
        other = rows[:, unit].astype(np.int64)
        one = board.auroc(np.hstack([1 - other, other]))
        return np.asarray(one - board.auroc(np.hstack([other, 1 - other])))

    block = max(1, (1 << 20) // (2 * n))
    null = np.concatenate([difference(swapped[i : i + block]) for i in range(0, len(swapped), block)])
    observed = float(difference(np.zeros((1, int(unit.max()) + 1), dtype=bool))[0])
    p = _p_value(null, observed, alternative, exact)
    auc_a, auc_b = (float(ScoreBoard(labels, s).auroc(np.ones((1, n), dtype=np.int64))[0]) for s in (first, second))
    method = f"paired permutation of ranks ({'all' if exact else 'random'} {len(null)})"
    patients = None if groups is None else int(unit.max()) + 1
    return Comparison(
        auc_a - auc_b, method=method, n=n, patients=patients, name="auroc difference", higher_is_better=True,
        first=auc_a, second=auc_b, statistic=observed, p=p,
    )  # fmt: skip


def _p_values(p: ArrayLike) -> Floats:
    values = finite(p, "p-values")
    if ((values < 0) | (values > 1)).any():
        raise BadInputError("cannot use p-values", why="they must lie in [0, 1]")
    return values


def holm(p: ArrayLike) -> Floats:
    """p-values adjusted by Holm's step-down method (Scand J Stat 1979): controls the family-wise error rate.

    Args:
        p: p-values, shape `(m,)`.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        BadInputError: Values outside [0, 1] or NaN.
    """
    values = _p_values(p)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """p-values adjusted by Benjamini and Hochberg (J R Stat Soc B 1995): controls the false discovery rate; from scipy.

    Args:
        p: p-values, shape `(m,)`.

    Returns:
        Adjusted p-values in the same order.

    Raises:
        BadInputError: Values outside [0, 1] or NaN.
    """
    from scipy.stats import false_discovery_control

    values = _p_values(p)
    return np.asarray(false_discovery_control(values, method="bh"), np.float64) if len(values) else values


def _smallest(enough: Callable[[int], bool], limit: int = 1 << 40) -> int:
    """Smallest whole number for which a monotone condition holds."""
    high = 1
    while not enough(high):
        high *= 2
        if high > limit:
            raise BadInputError("no sample is large enough", why="the precision asked for is not reachable")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def sample_size_proportion(expected: float, half_width: float, level: float = 0.95) -> int:
    """Cases needed so that the Wilson interval of a proportion is no wider than twice `half_width`.

    Args:
        expected: Expected proportion.
        half_width: Half of the width allowed.
        level: Confidence level.

    Returns:
        Number of cases.

    Raises:
        BadInputError: Values outside (0, 1).
    """
    p = fraction(expected, "expected proportion")
    width = 2 * fraction(half_width, "half width", open_low=True, open_high=True)
    z = normal_quantile(level)

    def enough(n: int) -> bool:
        return 2 * z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n) <= width

    return _smallest(enough)


def sample_size_rate(
    expected: float,
    half_width: float,
    prevalence: float,
    kind: Literal["sensitivity", "specificity"],
    level: float = 0.95,
) -> int:
    """Cases of both classes needed to estimate a sensitivity or specificity (Buderer, Acad Emerg Med 1996).

    Args:
        expected: Expected sensitivity or specificity.
        half_width: Half of the width of its interval.
        prevalence: Prevalence in the sample to be drawn.
        kind: Which of the two.
        level: Confidence level.

    Returns:
        Cases in all; the class that counts has the size of `sample_size_proportion`.

    Raises:
        BadInputError: Values outside (0, 1).
        UsageError: Unknown kind.
    """
    share = fraction(prevalence, "prevalence", open_low=True, open_high=True)
    if kind not in ("sensitivity", "specificity"):
        raise UsageError("unknown rate", item=str(kind), fix="use sensitivity or specificity")
    needed = sample_size_proportion(expected, half_width, level)
    return math.ceil(needed / (share if kind == "sensitivity" else 1 - share))


def sample_size_auroc(expected: float, half_width: float, prevalence: float = 0.5, level: float = 0.95) -> int:
    """Cases needed so that the interval of an AUROC has that half width (Hanley and McNeil, Radiology 1982).

    Args:
        expected: Expected AUROC, in (0.5, 1).
        half_width: Half of the width of its interval.
        prevalence: Share of positives among the cases.
        level: Confidence level.

    Returns:
        Cases in all, positives rounded down and at least one.

    Raises:
        BadInputError: Values outside their range.
    """
    auc = fraction(expected, "expected AUROC", open_low=True, open_high=True)
    half = fraction(half_width, "half width", open_low=True, open_high=True)
    share = fraction(prevalence, "prevalence", open_low=True, open_high=True)
    z = normal_quantile(level)
    both_positive, both_negative = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2

    def enough(n: int) -> bool:
        positives = max(1, int(n * share))
        negatives = n - positives
        if negatives < 1:
            return False
        variance = auc * (1 - auc) + (positives - 1) * both_positive + (negatives - 1) * both_negative
        return z * math.sqrt(variance / (positives * negatives)) <= half

    return _smallest(enough)
