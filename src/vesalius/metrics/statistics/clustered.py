"""Areas under ROC curves of cases that come in clusters, such as several images of a patient (Obuchowski)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from vesalius.errors import BadInputError
from vesalius.metrics.checks import binary_scores
from vesalius.metrics.statistics.inference import AucEstimate, Comparison
from vesalius.metrics.statistics.intervals import clopper_pearson, normal_quantile

Floats = NDArray[np.float64]


def clustered_auroc(y: ArrayLike, score: ArrayLike, groups: Sequence[str], level: float = 0.95) -> AucEstimate:
    """AUROC with the standard error of Obuchowski (Biometrics 1997, 53:567), cases of a group being dependent.

    With a group for each case it is DeLong's. Where every positive ranks above every negative the error is 0, which
    says nothing; the interval then is the exact one of the class with fewer groups.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Scores, shape `(n,)`.
        groups: `(n,)` patient of each case.
        level: Confidence level.

    Raises:
        BadInputError: Fewer than two groups of a class, NaN, or unequal lengths.

    Examples:
        >>> found = clustered_auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], ["a", "b", "c", "d"])
        >>> round(found.auc, 2), round(found.se, 2)
        (0.75, 0.35)
    """
    labels, scores = binary_scores(y, score)
    above, below, auc = _components(labels, scores)
    member, least = _members(labels, groups)
    se = math.sqrt(_variance(labels, above, below, member))
    half, method = normal_quantile(level) * se, "obuchowski, over patients"
    low, high = max(0.0, auc - half), min(1.0, auc + half)
    if se == 0 and auc in (0.0, 1.0):
        exact = clopper_pearson(least if auc == 1.0 else 0, least, level)
        low, high, method = exact.low, exact.high, "exact bound of the class with fewer patients (perfect ranking)"
    return AucEstimate(
        auc, low, high, level, method, len(labels), member.shape[1], name="auroc", higher_is_better=True, se=se,
        positives=len(above), negatives=len(below),
    )  # fmt: skip


def clustered_auroc_difference(
    y: ArrayLike, first: ArrayLike, second: ArrayLike, groups: Sequence[str], level: float = 0.95
) -> Comparison:
    """Two correlated AUROCs compared, cases of a group being dependent; arguments as for `clustered_auroc`."""
    labels, a = binary_scores(y, first)
    _, b = binary_scores(y, second)
    one, two = _components(labels, a), _components(labels, b)
    member, _ = _members(labels, groups)
    se = math.sqrt(_variance(labels, one[0] - two[0], one[1] - two[1], member))
    gap, half = one[2] - two[2], normal_quantile(level) * se
    z = gap / se if se > 0 else 0.0
    return Comparison(
        gap, max(-1.0, gap - half), min(1.0, gap + half), level, "obuchowski, over patients", len(labels),
        member.shape[1], name="auroc difference", higher_is_better=True, first=one[2], second=two[2], statistic=z,
        p=2 * NormalDist().cdf(-abs(z)),
    )  # fmt: skip


def _components(labels: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, float]:
    """Share of negatives below each positive, share of positives above each negative, and the area."""
    up, down = scores[labels], scores[~labels]
    m, n = len(up), len(down)
    every = rankdata(np.concatenate([up, down]))
    above = (every[:m] - rankdata(up)) / n
    below = 1 - (every[m:] - rankdata(down)) / m
    return above, below, float(above.mean())


def _members(labels: NDArray[np.bool_], groups: Sequence[str]) -> tuple[Floats, int]:
    """`(n, clusters)` membership, and in how many clusters the rarer class is."""
    if len(groups) != len(labels):
        raise BadInputError("cannot use groups", why=f"{len(groups)} groups for {len(labels)} cases")
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    member = np.zeros((len(labels), int(codes.max()) + 1))
    member[np.arange(len(labels)), codes] = 1.0
    least = min(int((member[labels == k].sum(0) > 0).sum()) for k in (False, True))
    if least < 2:
        raise BadInputError("an area needs two patients of each class", why=f"there are {least}")
    return member, least


def _variance(labels: NDArray[np.bool_], above: Floats, below: Floats, member: Floats) -> float:
    """Obuchowski's variance from structural components, or of a difference from differences of components."""
    positive, negative = member[labels], member[~labels]
    m, n = len(above), len(below)
    # Sums over each cluster of what its cases deviate from the mean.
    up, down = positive.T @ (above - above.mean()), negative.T @ (below - below.mean())
    i10, i01, i = (int((x.sum(0) > 0).sum()) for x in (positive, negative, member))
    s10 = i10 / (i10 - 1) / m * float(up @ up)
    s01 = i01 / (i01 - 1) / n * float(down @ down)
    s11 = i / (i - 1) * float(up @ down)
    return max(0.0, s10 / m + s01 / n + 2 * s11 / (m * n))
