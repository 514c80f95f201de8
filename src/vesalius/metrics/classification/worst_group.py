"""Accuracy in the group that fares worst: what a mean over cases hides where a shortcut holds for most of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.metrics.statistics.bootstrap import Bootstrap, bootstrap_weighted

Floats = npt.NDArray[np.float64]


def group_means(score: npt.ArrayLike, group: Sequence[str]) -> dict[str, float]:
    """Mean score of each group, by name.

    Args:
        score: `(n,)` score of each case, 0/1 for wrong or right.
        group: `(n,)` group of each case, such as class x view.

    Examples:
        >>> group_means([1, 0, 1], ["a", "a", "b"])
        {'a': 0.5, 'b': 1.0}
    """
    values = _checked(score, group)
    names = np.asarray(group)
    return {str(name): float(values[names == name].mean()) for name in np.unique(names)}


def worst_group_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    group: Sequence[str],
    *,
    patients: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Bootstrap:
    """Worst group's mean of the first score minus worst group's of the second (Sagawa et al., arXiv 1911.08731).

    The two may have different worst groups, in each resample as well. Without patients the groups' sizes are kept;
    with them, patients are drawn whole and a resample that lacks a group is undefined.

    Args:
        first: `(n,)` score of each case.
        second: `(n,)` score of the same cases.
        group: `(n,)` group of each case.
        patients: `(n,)` who is drawn together.
        resamples: Bootstrap resamples.
        seed: Seed.
    """
    a, b = _checked(first, group), _checked(second, group)
    code = np.unique(np.asarray(group), return_inverse=True)[1]
    member = np.eye(int(code.max()) + 1)[code]

    def statistic(counts: npt.NDArray[np.int64]) -> Floats:
        weight = counts.astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            size = weight @ member
            gap = ((weight * a) @ member / size).min(1) - ((weight * b) @ member / size).min(1)
        return np.asarray(gap)

    strata = None if patients is not None else code
    return bootstrap_weighted(statistic, len(a), resamples=resamples, seed=seed, strata=strata, groups=patients)


def _checked(score: npt.ArrayLike, group: Sequence[str]) -> Floats:
    values = np.asarray(score, np.float64)
    if values.ndim != 1 or values.shape != (len(group),) or not len(values):
        raise BadInputError("scores and groups do not pair", why=f"shape {values.shape}, {len(group)} groups")
    return values
