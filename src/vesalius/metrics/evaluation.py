"""What held-out predictions give: each figure with its interval, the number of cases and of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.metrics.classification.calibration import ece
from vesalius.metrics.classification.regression import r2
from vesalius.metrics.classification.scores import accuracy, auprc, auroc, balanced_accuracy
from vesalius.metrics.statistics.bootstrap import bootstrap, bootstrap_mean
from vesalius.metrics.statistics.intervals import Interval

#: Resamples of every bootstrap interval here.
RESAMPLES = 2000


@dataclass(frozen=True)
class Measure:
    """One figure.

    Args:
        name: Metric's name.
        value: Its value.
        interval: Its interval, or None where none is computed.
        positive: Class it is about, or "" for all.
    """

    name: str
    value: float
    interval: Interval | None = None
    positive: str = ""

    def __str__(self) -> str:
        about = f" ({self.positive})" if self.positive else ""
        return f"{self.name}{about} {self.value:.3f}{f' {self.interval}' if self.interval else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        interval = None if self.interval is None else self.interval.to_dict()
        return {"name": self.name, "value": self.value, "interval": interval, "positive": self.positive}


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
        measures = tuple(
            Measure(
                m["name"],
                float(m["value"]),
                None if m["interval"] is None else Interval.from_dict(m["interval"]),
                m["positive"],
            )
            for m in data["measures"]
        )
        return cls(measures, int(data["n"]), int(data["patients"]), dict(data["counts"]))


def auroc_measure(
    y: npt.NDArray[Any], score: npt.NDArray[np.float64], groups: Sequence[str], positive: str = "", seed: int = 0
) -> Measure:
    """AUROC with a bootstrap interval that draws whole patients."""
    return _with_interval("auroc", auroc(y, score), y, score, groups, positive, seed)


def auprc_measure(
    y: npt.NDArray[Any], score: npt.NDArray[np.float64], groups: Sequence[str], positive: str = "", seed: int = 0
) -> Measure:
    """Area under the precision-recall curve with a bootstrap interval that draws whole patients."""
    return _with_interval("auprc", auprc(y, score), y, score, groups, positive, seed)


def _with_interval(
    name: str,
    value: float,
    y: npt.NDArray[Any],
    score: npt.NDArray[np.float64],
    groups: Sequence[str],
    positive: str,
    seed: int,
) -> Measure:
    try:
        stratified = _one_label_each(y, groups)
        interval = bootstrap(
            y, score, name, groups=list(groups), stratified=stratified, resamples=RESAMPLES, seed=seed
        ).interval
    except BadInputError:  # too few patients for most resamples to hold both classes: a figure without an interval
        interval = None
    return Measure(name, value, interval, positive)


def evaluate_classes(
    y: npt.NDArray[Any],
    probability: npt.NDArray[np.float64],
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Evaluation:
    """AUROC and AUPRC of each class against the rest (macro AUROC too for more than two), accuracy, calibration.

    Args:
        y: `(n,)` class numbers.
        probability: `(n, classes)` held-out probabilities.
        classes: Names.
        groups: Patient of each case; resamples draw patients.
        seed: Seed of the resampling.
    """
    measures: list[Measure] = []
    columns = [1] if len(classes) == 2 else range(len(classes))
    for c in columns:
        measures.append(auroc_measure((y == c).astype(int), probability[:, c], groups, classes[c], seed))
    if len(classes) > 2:
        measures.append(Measure("auroc_macro", float(np.mean([m.value for m in measures]))))
    for c in columns:
        measures.append(auprc_measure((y == c).astype(int), probability[:, c], groups, classes[c], seed))
    predicted = probability.argmax(1)
    right = (predicted == y).astype(float)
    interval = bootstrap_mean(right, groups=list(groups), resamples=RESAMPLES, seed=seed).interval
    measures.append(Measure("accuracy", accuracy(y, predicted), interval))
    measures.append(Measure("balanced_accuracy", balanced_accuracy(y, predicted)))
    measures += [Measure("ece", ece((y == c).astype(int), probability[:, c]), None, classes[c]) for c in columns]
    counts = {name: int((y == c).sum()) for c, name in enumerate(classes)}
    return Evaluation(tuple(measures), len(y), len(set(groups)), counts)


def evaluate_numbers(
    y: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64], groups: Sequence[str], *, seed: int = 0
) -> Evaluation:
    """Mean absolute error and R2 of held-out predictions `(n,)`, the error of always saying the mean beside it."""
    wrong = np.abs(predicted - y)
    boot = bootstrap_mean(wrong, groups=list(groups), resamples=RESAMPLES, seed=seed)
    blind = float(np.abs(y - y.mean()).mean())
    measures = (
        Measure("mae", boot.estimate, boot.interval),
        Measure("mae_of_the_mean", blind),
        Measure("r2", r2(y, predicted)),
    )
    return Evaluation(measures, len(y), len(set(groups)))


def _one_label_each(y: npt.NDArray[Any], groups: Sequence[str]) -> bool:
    seen: dict[str, Any] = {}
    return all(seen.setdefault(g, v) == v for g, v in zip(groups, y, strict=True))
