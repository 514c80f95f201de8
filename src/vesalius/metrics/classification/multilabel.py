"""Many findings at once: per-finding values and their macro and micro means, with unknown labels left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.classification.scores import auprc, auroc, f1
from vesalius.metrics.registry import metric

__all__ = ["LabelScores", "multilabel_auprc", "multilabel_auroc", "multilabel_f1", "per_label"]

Floats = NDArray[np.float64]
_EDGES = (
    "NaN labels are unknown and left out; a label of one class only is left out of the macro mean; none "
    "left is an error."
)


@dataclass(frozen=True)
class LabelScores:
    """A metric for each label.

    Attributes:
        value: One value a label, `None` where it is undefined.
        n: Known cases of each label.
        positives: Positive cases of each label.
    """

    value: tuple[float | None, ...]
    n: tuple[int, ...]
    positives: tuple[int, ...]

    @property
    def macro(self) -> float:
        """Mean over the labels where the metric is defined.

        Raises:
            BadInputError: It is defined for none.
        """
        known = [v for v in self.value if v is not None]
        if not known:
            raise BadInputError("no label can be measured", why="every label is unknown or of one class")
        return float(np.mean(known))

    @property
    def skipped(self) -> tuple[int, ...]:
        """Columns where the metric is undefined."""
        return tuple(i for i, v in enumerate(self.value) if v is None)


def _matrices(y: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    labels, scores = np.asarray(y, dtype=np.float64), finite(score, "score", ndim=2)
    if labels.shape != scores.shape or labels.size == 0:
        raise BadInputError("labels and scores differ in shape", why=f"{labels.shape} against {scores.shape}")
    known = labels[~np.isnan(labels)]
    if not np.isin(known, (0.0, 1.0)).all():
        raise BadInputError("cannot use y", why="labels must be 0, 1 or NaN (unknown)")
    return labels, scores


def per_label(y: ArrayLike, score: ArrayLike, function: Callable[[Floats, Floats], float]) -> LabelScores:
    """A two-class metric for each column.

    Args:
        y: Labels 0, 1 or NaN (unknown), shape `(n, labels)`.
        score: Scores, same shape.
        function: The metric, called with the known labels and scores of one column.

    Returns:
        The values; columns for which the metric raises `BadInputError` get `None`.

    Raises:
        BadInputError: Shapes differ or values are wrong.
    """
    labels, scores = _matrices(y, score)
    values: list[float | None] = []
    known = ~np.isnan(labels)
    for column in range(labels.shape[1]):
        rows = known[:, column]
        try:
            values.append(float(function(labels[rows, column], scores[rows, column])))
        except BadInputError:
            values.append(None)
    return LabelScores(
        tuple(values), tuple(int(v) for v in known.sum(axis=0)), tuple(int(v) for v in np.nansum(labels, axis=0))
    )


def _mean(y: ArrayLike, score: ArrayLike, function: Callable[[Floats, Floats], float], average: str) -> float:
    if average == "macro":
        return per_label(y, score, function).macro
    if average == "micro":
        labels, scores = _matrices(y, score)
        known = ~np.isnan(labels)
        return float(function(labels[known], scores[known]))
    raise UsageError("unknown average", item=average, fix="use macro or micro")


@metric(
    "multilabel_auroc",
    definition="AUROC per label, then the plain mean (macro); or of all (case, label) pairs in one list (micro).",
    source="as scikit-learn's roc_auc_score",
    edge_cases=_EDGES,
)
def multilabel_auroc(y: ArrayLike, score: ArrayLike, average: Literal["macro", "micro"] = "macro") -> float:
    """Macro or micro AUROC, `y` and `score` of shape `(n, labels)`; see `per_label`."""
    return _mean(y, score, auroc, average)


@metric(
    "multilabel_auprc",
    definition="Average precision per label, then the plain mean (macro); or of all (case, label) pairs in "
    "one list (micro).",
    source="as scikit-learn's average_precision_score",
    edge_cases=_EDGES,
)
def multilabel_auprc(y: ArrayLike, score: ArrayLike, average: Literal["macro", "micro"] = "macro") -> float:
    """Macro or micro average precision, `y` and `score` of shape `(n, labels)`; see `per_label`."""
    return _mean(y, score, auprc, average)


@metric(
    "multilabel_f1",
    definition="F1 of the rule score >= threshold per label, then the plain mean (macro); or from summed "
    "counts (micro).",
    source="as scikit-learn's f1_score with zero_division=0",
    edge_cases="NaN labels are unknown and left out; a label neither true nor called anywhere scores 0.",
)
def multilabel_f1(
    y: ArrayLike, score: ArrayLike, average: Literal["macro", "micro"] = "macro", threshold: float = 0.5
) -> float:
    """Macro or micro F1, `y` and `score` of shape `(n, labels)`; see `per_label`."""
    return _mean(y, score, lambda t, s: f1(t, s >= threshold), average)
