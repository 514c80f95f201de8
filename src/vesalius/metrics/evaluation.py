"""What held-out predictions give: each figure with its interval, the number of cases and of patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.metrics.classification.calibration import ece_interval
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import described
from vesalius.metrics.statistics.bootstrap import (
    ScoreBoard,
    bootstrap_mean,
    bootstrap_share,
    bootstrap_weighted,
)
from vesalius.metrics.statistics.intervals import clopper_pearson

__all__ = ["Evaluation", "auprc_measure", "auroc_measure", "evaluate_classes", "evaluate_numbers"]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[npt.NDArray[np.int64]], Floats]

#: Resamples of every bootstrap interval here.
RESAMPLES = 2000


@dataclass(frozen=True)
class Evaluation:
    """Figures on one set of held-out predictions.

    Args:
        measures: The figures.
        n: Cases.
        patients: Patients.
        counts: Cases of each class.
    """

    measures: tuple[Measure, ...]
    n: int
    patients: int
    counts: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measure:
        """The first figure of that name."""
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "n": self.n,
            "patients": self.patients,
            "counts": dict(self.counts),
            "measures": [m.to_dict() for m in self.measures],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read back what `to_dict` wrote."""
        measures = tuple(Measure.from_dict(m) for m in data["measures"])
        return cls(measures, int(data["n"]), int(data["patients"]), dict(data["counts"]))


def auroc_measure(
    y: npt.NDArray[Any],
    score: Floats,
    groups: Sequence[str],
    positive: str = "",
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Measure:
    """AUROC with a bootstrap interval that draws whole patients.

    A perfect (or perfectly wrong) ranking is perfect in every resample, which says nothing; there the interval is the
    exact one of the class with fewer patients, all of it ranked right.
    """
    found = _area("auroc", ScoreBoard(y, score).auroc, y, groups, positive, seed, resamples, level)
    if found.value not in (0.0, 1.0):
        return found
    owners = np.asarray(groups)
    fewest = min(len(set(owners[np.asarray(y) == c])) for c in (0, 1))
    exact = clopper_pearson(fewest if found.value == 1.0 else 0, fewest, level)
    method = "exact bound of the class with fewer patients (perfect ranking)"
    return found.named("auroc", positive, low=exact.low, high=exact.high, method=method)


def auprc_measure(
    y: npt.NDArray[Any],
    score: Floats,
    groups: Sequence[str],
    positive: str = "",
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Measure:
    """Area under the precision-recall curve with a bootstrap interval that draws whole patients."""
    return _area("auprc", ScoreBoard(y, score).auprc, y, groups, positive, seed, resamples, level)


def _area(
    name: str,
    statistic: Statistic,
    y: npt.NDArray[Any],
    groups: Sequence[str],
    positive: str,
    seed: int,
    resamples: int,
    level: float,
) -> Measure:
    strata = y if _one_label_each(y, groups) else None
    return described(_drawn(statistic, groups, seed, strata, resamples=resamples, level=level), name, positive)


def _drawn(
    statistic: Statistic,
    groups: Sequence[str],
    seed: int,
    strata: npt.NDArray[Any] | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Measure:
    """The statistic with its interval over patients; without one where it is undefined in many resamples."""
    n = len(groups)
    try:
        return bootstrap_weighted(
            statistic, n, resamples=resamples, seed=seed, groups=list(groups), strata=strata, level=level, limits=limits
        )
    except BadInputError:  # too few patients for most resamples to hold every class
        value = float(statistic(np.ones((1, n), dtype=np.int64))[0])
        return Measure(value, level=level, n=n, patients=len(set(groups)))


def evaluate_classes(
    y: npt.NDArray[Any],
    probability: Floats,
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Evaluation:
    """AUROC and AUPRC of each class against the rest (macro AUROC too for more than two), accuracy, calibration.

    A class that no case has (or that all have) has no AUROC; that it was said of cases still counts in the accuracies.

    Args:
        y: `(n,)` class numbers.
        probability: `(n, classes)` held-out probabilities.
        classes: Names.
        groups: Patient of each case; resamples draw patients.
        seed: Seed of the resampling.

    Raises:
        BadInputError: The shapes do not fit together.
    """
    n = len(y)
    if probability.shape != (n, len(classes)) or len(groups) != n:
        raise BadInputError(
            "predictions do not fit the cases",
            why=f"probabilities {probability.shape} for {n} cases of {len(classes)} classes and {len(groups)} groups",
        )
    columns = [1] if len(classes) == 2 else list(range(len(classes)))
    ranked = [c for c in columns if 0 < int((y == c).sum()) < n]
    truth = {c: (y == c).astype(int) for c in columns}
    measures = [auroc_measure(truth[c], probability[:, c], groups, classes[c], seed) for c in ranked]
    if len(classes) > 2 and ranked:
        boards = [ScoreBoard(truth[c], probability[:, c]) for c in ranked]
        macro = _drawn(
            lambda counts: np.asarray(np.mean([b.auroc(counts) for b in boards], axis=0)),
            groups,
            seed,
            y if _one_label_each(y, groups) else None,
        )
        what = "Plain mean over the classes that occur of the AUROC of each against the rest."
        measures.append(macro.named("auroc_macro", higher_is_better=True, definition=what))
    measures += [auprc_measure(truth[c], probability[:, c], groups, classes[c], seed) for c in ranked]
    predicted = probability.argmax(1)
    right = (predicted == y).astype(int)
    share = bootstrap_share(right, groups=list(groups), resamples=RESAMPLES, seed=seed)
    measures.append(described(share, "accuracy"))
    measures.append(described(_drawn(_mean_recall(y, right), groups, seed), "balanced_accuracy"))
    for c in columns:
        found = ece_interval(truth[c], probability[:, c], groups=list(groups), resamples=RESAMPLES, seed=seed)
        measures.append(described(found, "ece", classes[c]))
    counts = {name: int((y == c).sum()) for c, name in enumerate(classes)}
    return Evaluation(tuple(measures), n, len(set(groups)), counts)


def _mean_recall(y: npt.NDArray[Any], right: npt.NDArray[np.int64]) -> Statistic:
    """Balanced accuracy of weighted cases; undefined where a class that occurs was not drawn."""
    member = (np.asarray(y)[:, None] == np.unique(y)).astype(np.float64)
    hit = member * right[:, None]

    def statistic(counts: npt.NDArray[np.int64]) -> Floats:
        size = counts @ member
        share = np.divide(counts @ hit, size, out=np.full(size.shape, np.nan), where=size > 0)
        return np.asarray(share.mean(axis=1))

    return statistic


def evaluate_numbers(y: Floats, predicted: Floats, groups: Sequence[str], *, seed: int = 0) -> Evaluation:
    """Mean absolute error and R2 of held-out predictions `(n,)`, the error of always saying the mean beside it.

    R2 is left out where all true values are equal.
    """
    n, unlimited = len(y), (-np.inf, np.inf)
    centred = y - y.mean()
    squares = (predicted - y) ** 2
    patients = list(groups)

    def blind(counts: npt.NDArray[np.int64]) -> Floats:
        mean = counts @ centred / counts.sum(axis=1)
        apart = [c @ np.abs(centred - m) for c, m in zip(counts, mean, strict=True)]
        return np.asarray(apart / counts.sum(axis=1))

    def explained(counts: npt.NDArray[np.int64]) -> Floats:
        spread = counts @ centred**2 - (counts @ centred) ** 2 / counts.sum(axis=1)
        some = spread > 1e-12 * float(centred @ centred)  # all of one value, but for rounding
        ratio = np.divide(counts @ squares, spread, out=np.full(len(counts), np.nan), where=some)
        return np.asarray(1 - ratio)

    wrong = bootstrap_mean(np.abs(predicted - y), groups=patients, resamples=RESAMPLES, seed=seed)
    what = "Mean absolute error of always saying the mean of these cases."
    always = _drawn(blind, groups, seed, limits=unlimited).named(
        "mae_of_the_mean", unit="unit of y", higher_is_better=False, definition=what
    )
    measures = [described(wrong, "mae"), always]
    if n and not (y == y[0]).all():
        measures.append(described(_drawn(explained, groups, seed, limits=(-np.inf, 1.0)), "r2"))
    return Evaluation(tuple(measures), n, len(set(groups)))


def _one_label_each(y: npt.NDArray[Any], groups: Sequence[str]) -> bool:
    seen: dict[str, Any] = {}
    return all(seen.setdefault(g, v) == v for g, v in zip(groups, y, strict=True))
