"""Two-class and multi-class classification: curves, areas under them, agreement of classes.

Decision rule throughout: a case is called positive when `score >= threshold`. Rates at a threshold are in `rates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_labels, binary_scores, case_weights, class_labels, same_length
from vesalius.metrics.registry import metric

__all__ = [
    "Average",
    "PrCurve",
    "RocCurve",
    "accuracy",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "confusion",
    "f1",
    "kappa",
    "mcc",
    "pr_curve",
    "roc_curve",
]

Floats = NDArray[np.float64]
Average = Literal["binary", "macro", "micro", "weighted"]

_LABEL_EDGES = "Empty input, unequal lengths and NaN are errors."
_SCORE_EDGES = "One class only, empty input, NaN and infinity are errors."


@dataclass(frozen=True)
class RocCurve:
    """Receiver operating characteristic; one point per distinct score, from `(0, 0)` to `(1, 1)`.

    Attributes:
        fpr: False-positive rate, ascending, shape `(k + 1,)`.
        tpr: True-positive rate, same shape.
        threshold: Rule `score >= threshold` of each point, descending; the first is infinite.
    """

    fpr: Floats
    tpr: Floats
    threshold: Floats

    def to_dict(self) -> dict[str, list[float | None]]:
        """The curve as plain lists; the infinite threshold becomes `None`."""
        return {
            "fpr": [float(v) for v in self.fpr],
            "tpr": [float(v) for v in self.tpr],
            "threshold": [float(v) if np.isfinite(v) else None for v in self.threshold],
        }


@dataclass(frozen=True)
class PrCurve:
    """Precision against recall; one point per distinct score, from few to all cases called positive.

    Attributes:
        precision: Shape `(k,)`.
        recall: Ascending, shape `(k,)`.
        threshold: Rule `score >= threshold`, descending, shape `(k,)`.
    """

    precision: Floats
    recall: Floats
    threshold: Floats

    def to_dict(self) -> dict[str, list[float]]:
        """The curve as plain lists."""
        return {name: [float(v) for v in getattr(self, name)] for name in ("precision", "recall", "threshold")}


def _cumulative(y: NDArray[np.bool_], score: Floats, weight: Floats) -> tuple[Floats, Floats, Floats]:
    """True and false positives of the rule `score >= t` for each distinct `t`, descending."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    weights = weight[order]
    tp = np.cumsum(weights * y[order])[last]
    fp = np.cumsum(weights * ~y[order])[last]
    return tp, fp, ordered[last]


def roc_curve(y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> RocCurve:
    """ROC curve.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Larger means more likely positive, shape `(n,)`.
        weight: Case weights, shape `(n,)`.

    Returns:
        The curve with every distinct score kept.

    Raises:
        BadInputError: One class, NaN, or unequal lengths.
    """
    labels, scores = binary_scores(y, score)
    tp, fp, threshold = _cumulative(labels, scores, case_weights(weight, len(labels)))
    if tp[-1] == 0 or fp[-1] == 0:
        raise BadInputError("one class only", why="all cases of one class have weight 0")
    zero = np.zeros(1)
    return RocCurve(
        np.concatenate([zero, fp / fp[-1]]), np.concatenate([zero, tp / tp[-1]]), np.concatenate([[np.inf], threshold])
    )


def pr_curve(y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> PrCurve:
    """Precision-recall curve.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Larger means more likely positive, shape `(n,)`.
        weight: Case weights, shape `(n,)`.

    Returns:
        The curve with every distinct score kept.

    Raises:
        BadInputError: No positive case, NaN, or unequal lengths.
    """
    labels, scores = binary_scores(y, score, both_classes=False)
    if not labels.any():
        raise BadInputError("no positive case", why=f"recall is undefined for {len(labels)} negative cases")
    tp, fp, threshold = _cumulative(labels, scores, case_weights(weight, len(labels)))
    keep = tp + fp > 0
    if tp[-1] == 0:
        raise BadInputError("no positive case", why="all positive cases have weight 0")
    return PrCurve(tp[keep] / (tp + fp)[keep], tp[keep] / tp[-1], threshold[keep])


@metric(
    "auroc",
    definition="Area under the ROC curve: chance that a random positive scores above a random negative, ties "
    "counting one half.",
    source="Hanley and McNeil, Radiology 1982",
    edge_cases=_SCORE_EDGES + " All scores equal give 0.5.",
)
def auroc(y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Area under the ROC curve by ranks.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Larger means more likely positive, shape `(n,)`.
        weight: Case weights, shape `(n,)`.

    Returns:
        Area in [0, 1].

    Raises:
        BadInputError: One class, NaN, or unequal lengths.
    """
    curve = roc_curve(y, score, weight)
    area = np.dot(np.diff(curve.fpr), curve.tpr[1:] + curve.tpr[:-1]) / 2
    return float(min(1.0, max(0.0, area)))


@metric(
    "auprc",
    definition="Average precision: sum over distinct thresholds of (step in recall) x precision, without "
    "interpolation.",
    source="Davis and Goadrich, ICML 2006 (step form, as scikit-learn's average_precision_score)",
    edge_cases="No positive case, empty input, NaN and infinity are errors. All scores equal give the prevalence.",
)
def auprc(y: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve as average precision.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Larger means more likely positive, shape `(n,)`.
        weight: Case weights, shape `(n,)`.

    Returns:
        Area in (0, 1].

    Raises:
        BadInputError: No positive case, NaN, or unequal lengths.
    """
    curve = pr_curve(y, score, weight)
    return float(min(1.0, np.dot(np.diff(curve.recall, prepend=0.0), curve.precision)))


def confusion(y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None) -> tuple[Floats, NDArray[Any]]:
    """Confusion matrix.

    Args:
        y: True labels, shape `(n,)`.
        predicted: Predicted labels, shape `(n,)`.
        weight: Case weights.

    Returns:
        `(matrix, classes)`: rows are true, columns predicted classes, in the order of `classes` (sorted).

    Raises:
        BadInputError: Unequal lengths, empty input, NaN.
    """
    true, guess, classes = class_labels(y, predicted)
    k = len(classes)
    counts = np.bincount(true * k + guess, weights=case_weights(weight, len(true)), minlength=k * k)
    return counts.reshape(k, k).astype(np.float64), classes


@metric(
    "accuracy",
    definition="Share of cases whose predicted class is the true class.",
    source="standard",
    edge_cases=_LABEL_EDGES,
)
def accuracy(y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Accuracy of predicted classes, arguments as `confusion`."""
    matrix, _ = confusion(y, predicted, weight)
    return float(np.trace(matrix) / matrix.sum())


@metric(
    "balanced_accuracy",
    definition="Mean over the classes that occur in y of the share of their cases predicted right (mean recall).",
    source="Brodersen et al., ICPR 2010",
    edge_cases=_LABEL_EDGES + " Classes that occur only among predictions are left out of the mean.",
)
def balanced_accuracy(y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Mean recall over the true classes, arguments as `confusion`."""
    matrix, _ = confusion(y, predicted, weight)
    support = matrix.sum(axis=1)
    present = support > 0
    return float(np.mean(np.diag(matrix)[present] / support[present]))


@metric(
    "f1",
    definition="Harmonic mean of precision and recall, 2TP / (2TP + FP + FN); over classes by macro, micro "
    "or weighted mean.",
    source="van Rijsbergen 1979; averages as in scikit-learn",
    edge_cases=_LABEL_EDGES + " A class that is neither true nor predicted anywhere scores 0 (binary average).",
)
def f1(y: ArrayLike, predicted: ArrayLike, average: Average = "binary", weight: ArrayLike | None = None) -> float:
    """F1 score.

    Args:
        y: True labels, shape `(n,)`; 0/1 when `average="binary"`.
        predicted: Predicted labels, same shape.
        average: `binary` (of class 1), or `macro`, `micro`, `weighted` over the classes of either side.
        weight: Case weights.

    Returns:
        F1 in [0, 1].

    Raises:
        BadInputError: Wrong labels or lengths.
        UsageError: Unknown average.
    """
    if average == "binary":
        true, guess = binary_labels(y), binary_labels(predicted, "predicted")
        w = case_weights(weight, same_length(("y", true), ("predicted", guess)))
        hit, total = float(w[true & guess].sum()), float(w[true].sum() + w[guess].sum())
        return 2 * hit / total if total else 0.0
    matrix, _ = confusion(y, predicted, weight)
    true_count, hits = matrix.sum(axis=1), np.diag(matrix)
    if average == "micro":
        return float(hits.sum() / matrix.sum())
    each = 2 * hits / (true_count + matrix.sum(axis=0))
    if average == "macro":
        return float(each.mean())
    if average == "weighted":
        return float(np.average(each, weights=true_count))
    raise UsageError("unknown average", item=str(average), fix="use binary, macro, micro or weighted")


@metric(
    "mcc",
    definition="Matthews correlation between true and predicted classes (multi-class form).",
    source="Gorodkin, Comput Biol Chem 2004",
    range=(-1.0, 1.0),
    edge_cases=_LABEL_EDGES + " One class only on either side gives 0.",
)
def mcc(y: ArrayLike, predicted: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Matthews correlation coefficient, arguments as `confusion`."""
    matrix, _ = confusion(y, predicted, weight)
    true, guess, total = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    covariance = np.trace(matrix) * total - true @ guess
    scale = np.sqrt((total**2 - true @ true) * (total**2 - guess @ guess))
    return float(np.clip(covariance / scale, -1.0, 1.0)) if scale > 0 else 0.0


@metric(
    "kappa",
    definition="Cohen's kappa, 1 - sum(w O) / sum(w E), with disagreement weights w of 0/1, |i-j| or (i-j)^2.",
    source="Cohen, Psychol Bull 1968",
    range=(-1.0, 1.0),
    edge_cases=_LABEL_EDGES + " Both sides constant and equal give an error: chance agreement is then certain.",
)
def kappa(
    y: ArrayLike,
    predicted: ArrayLike,
    weights: Literal["linear", "quadratic"] | None = None,
    weight: ArrayLike | None = None,
    grades: Sequence[Any] | None = None,
) -> float:
    """Cohen's kappa, for grades with linear or quadratic weights.

    With weights the distance of two grades is that of their positions in `grades`, by default the sorted grades that
    occur on either side: name them all when one may be absent, or the distances shrink.

    Args:
        y: First rating, shape `(n,)`.
        predicted: Second rating, shape `(n,)`.
        weights: `None`, `linear` or `quadratic` disagreement weights.
        weight: Case weights.
        grades: All grades in their order.

    Returns:
        Kappa in [-1, 1].

    Raises:
        BadInputError: Wrong input, or both raters gave one and the same class.
        UsageError: Unknown weighting.
    """
    matrix, classes = confusion(y, predicted, weight)
    place = np.arange(len(matrix))
    if grades is not None:
        known = {grade: index for index, grade in enumerate(grades)}
        odd = [c for c in classes.tolist() if c not in known]
        if odd:
            raise BadInputError("label outside the grades", item=str(odd[0]), why=f"grades are {list(grades)}")
        place = np.array([known[c] for c in classes.tolist()])
    apart = np.abs(np.subtract.outer(place, place))
    if weights is None:
        cost = (apart > 0).astype(float)
    elif weights == "linear":
        cost = apart.astype(float)
    elif weights == "quadratic":
        cost = apart.astype(float) ** 2
    else:
        raise UsageError("unknown kappa weights", item=str(weights), fix="use None, linear or quadratic")
    expected = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / matrix.sum()
    chance = float((cost * expected).sum())
    if chance == 0:
        raise BadInputError("kappa is undefined", why="both sides hold one and the same class only")
    return float(1 - (cost * matrix).sum() / chance)
