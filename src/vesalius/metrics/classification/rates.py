"""Counts and rates of the rule `score >= threshold`, in the sample or at a stated prevalence."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from vesalius.errors import BadInputError
from vesalius.metrics.checks import binary_scores, fraction
from vesalius.metrics.registry import metric

__all__ = ["Rates", "negative_predictive_value", "positive_predictive_value", "rates_at", "sensitivity", "specificity"]


@dataclass(frozen=True)
class Rates:
    """Counts and rates of the rule `score >= threshold`.

    Attributes:
        threshold: The cut-off.
        tp: True positives, and likewise `fp`, `tn`, `fn`.
        sensitivity: TP / positives; `None` without positives.
        specificity: TN / negatives; `None` without negatives.
        ppv: Positive predictive value, at `prevalence`; `None` when nothing is called positive.
        npv: Negative predictive value, at `prevalence`; `None` when nothing is called negative.
        prevalence: That of the sample, or the one stated.
    """

    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: float | None
    specificity: float | None
    ppv: float | None
    npv: float | None
    prevalence: float


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def rates_at(y: ArrayLike, score: ArrayLike, threshold: float, prevalence: float | None = None) -> Rates:
    """Counts and rates at a threshold.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Scores, shape `(n,)`.
        threshold: Positive when `score >= threshold`.
        prevalence: Prevalence for the predictive values (Bayes' rule); that of the sample by default.

    Returns:
        The rates; undefined ones are `None`.

    Raises:
        BadInputError: Wrong input; or a stated prevalence when one class is missing.
    """
    labels, scores = binary_scores(y, score, both_classes=prevalence is not None)
    called = scores >= float(threshold)
    tp, fp = int((called & labels).sum()), int((called & ~labels).sum())
    fn, tn = int(labels.sum()) - tp, int((~labels).sum()) - fp
    sens, spec = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    if prevalence is None:
        ppv, npv, share = _ratio(tp, tp + fp), _ratio(tn, tn + fn), (tp + fn) / len(labels)
    else:
        share = fraction(prevalence, "prevalence")
        se, sp = float(sens or 0.0), float(spec or 0.0)
        ppv = _ratio(se * share, se * share + (1 - sp) * (1 - share))
        npv = _ratio(sp * (1 - share), sp * (1 - share) + (1 - se) * share)
    return Rates(float(threshold), tp, fp, tn, fn, sens, spec, ppv, npv, share)


def _needed(value: float | None, name: str, why: str) -> float:
    if value is None:
        raise BadInputError(f"{name} is undefined", why=why)
    return value


@metric(
    "sensitivity",
    definition="Share of the positive cases with score >= threshold (recall, true-positive rate).",
    source="standard",
    edge_cases="No positive case, empty input and NaN are errors.",
)
def sensitivity(y: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Sensitivity of the rule `score >= threshold`; arguments as `rates_at`."""
    return _needed(rates_at(y, score, threshold).sensitivity, "sensitivity", "there is no positive case")


@metric(
    "specificity",
    definition="Share of the negative cases with score < threshold (true-negative rate).",
    source="standard",
    edge_cases="No negative case, empty input and NaN are errors.",
)
def specificity(y: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Specificity of the rule `score >= threshold`; arguments as `rates_at`."""
    return _needed(rates_at(y, score, threshold).specificity, "specificity", "there is no negative case")


@metric(
    "ppv",
    definition="Share of true positives among the cases with score >= threshold (precision); at a stated "
    "prevalence p by "
    "Bayes' rule, se p / (se p + (1 - sp)(1 - p)).",
    source="standard",
    edge_cases="Nothing called positive, empty input and NaN are errors.",
)
def positive_predictive_value(
    y: ArrayLike, score: ArrayLike, threshold: float = 0.5, prevalence: float | None = None
) -> float:
    """Positive predictive value; arguments as `rates_at`."""
    return _needed(rates_at(y, score, threshold, prevalence).ppv, "PPV", f"no case scores {threshold} or more")


@metric(
    "npv",
    definition="Share of true negatives among the cases with score < threshold; at a stated prevalence p by "
    "Bayes' rule, "
    "sp (1 - p) / (sp (1 - p) + (1 - se) p).",
    source="standard",
    edge_cases="Nothing called negative, empty input and NaN are errors.",
)
def negative_predictive_value(
    y: ArrayLike, score: ArrayLike, threshold: float = 0.5, prevalence: float | None = None
) -> float:
    """Negative predictive value; arguments as `rates_at`."""
    return _needed(rates_at(y, score, threshold, prevalence).npv, "NPV", f"no case scores below {threshold}")
