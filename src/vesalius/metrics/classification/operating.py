"""Operating points: the exact cut-off that meets a clinical constraint, with intervals, re-applied to the bit.

A case is called positive when `score >= threshold`. The cut-off is always one of the observed scores (or, when the best
rule calls nothing positive, the next number above the largest), so re-applying it to the same scores repeats the
counts.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_scores, finite, fraction
from vesalius.metrics.classification.scores import roc_curve
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.intervals import ProportionMethod, predictive_interval, proportion_interval

__all__ = ["Cost", "DecisionCurve", "OperatingPoint", "decision_curve", "operating_point"]

Floats = NDArray[np.float64]
Target = Literal["sensitivity", "specificity", "cost"]


@dataclass(frozen=True)
class Cost:
    """What errors cost, in any common unit.

    Attributes:
        false_negative: Cost of a missed positive.
        false_positive: Cost of a false alarm.
    """

    false_negative: float = 1.0
    false_positive: float = 1.0


_RATES = ("sensitivity", "specificity", "ppv", "npv")


@dataclass(frozen=True)
class OperatingPoint:
    """A cut-off, why it was chosen, and how it does on the cases it was chosen on.

    Attributes:
        threshold: The cut-off; positive when `score >= threshold`.
        target: `sensitivity`, `specificity` or `cost`.
        value: The sensitivity or specificity asked for, or the expected cost per case that was reached.
        sensitivity: Share of positives called positive, with its interval.
        specificity: Share of negatives called negative, with its interval.
        ppv: Positive predictive value at `prevalence`, with its interval; `None` when nothing is called positive.
        npv: Negative predictive value at `prevalence`, with its interval; `None` when nothing is called negative.
        n: Cases it was chosen on.
        positives: Positive cases among them.
        prevalence: Prevalence the predictive values hold for.
        rule: The choice in words.
    """

    threshold: float
    target: Target
    value: float
    sensitivity: Measure
    specificity: Measure
    ppv: Measure | None
    npv: Measure | None
    n: int
    positives: int
    prevalence: float
    rule: str

    def apply(self, score: ArrayLike) -> NDArray[np.bool_]:
        """Which scores are called positive.

        Args:
            score: Finite scores of any shape, on the scale the point was made on.

        Returns:
            Booleans of the same shape.

        Raises:
            BadInputError: NaN or infinity among the scores.
        """
        return finite(score, "score", ndim=None) >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain data; JSON keeps the threshold to the bit because Python writes the shortest exact decimal."""
        data: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            data[name] = value.to_dict() if isinstance(value, Measure) else value
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> OperatingPoint:
        """The inverse of `to_dict`.

        Raises:
            BadInputError: A field is missing or unknown, or the threshold is not finite.
        """
        fields = set(cls.__dataclass_fields__)
        if set(data) != fields:
            raise BadInputError("not an operating point", why=f"fields differ: {sorted(fields ^ set(data))}")
        made: dict[str, Any] = {
            name: Measure.from_dict(value) if name in _RATES and value is not None else value
            for name, value in data.items()
        }
        point = cls(**made)
        if not math.isfinite(point.threshold):
            raise BadInputError("not an operating point", why=f"its threshold is {point.threshold}")
        return point


def operating_point(
    y: ArrayLike,
    score: ArrayLike,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    cost: Cost | float | None = None,
    prevalence: float | None = None,
    level: float = 0.95,
    method: ProportionMethod = "clopper-pearson",
    lower_bound: bool = False,
) -> OperatingPoint:
    """The cut-off that meets one constraint best.

    - `sensitivity=s`: the highest cut-off whose sensitivity is at least `s` (so the best specificity).
    - `specificity=s`: the lowest cut-off whose specificity is at least `s` (so the best sensitivity).
    - `cost=c`: the cut-off of least expected cost at the prevalence; `c` is a `Cost`, or the ratio of the cost of a
      false negative to that of a false positive. Equal costs go to the more sensitive rule.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Larger means more likely positive, shape `(n,)`.
        sensitivity: Least sensitivity, in (0, 1].
        specificity: Least specificity, in (0, 1].
        cost: Costs of the two errors.
        prevalence: Prevalence for PPV, NPV and cost; that of the sample by default.
        level: Confidence level of the intervals.
        method: Interval of the proportions.
        lower_bound: Ask that the lower limit of the interval, not the estimate, meets the constraint.

    Returns:
        The operating point.

    Raises:
        UsageError: Not exactly one constraint.
        BadInputError: Wrong input, or no useful cut-off meets the constraint (calling every case positive always has a
            sensitivity of 1, calling none positive a specificity of 1: neither is an operating point).
    """
    asked = [
        name
        for name, v in (("sensitivity", sensitivity), ("specificity", specificity), ("cost", cost))
        if v is not None
    ]
    if len(asked) != 1:
        raise UsageError(
            "cannot choose an operating point",
            why=f"{len(asked)} constraints given",
            fix="give exactly one of sensitivity, specificity, cost",
        )
    if lower_bound and cost is not None:
        raise UsageError("cannot choose an operating point", why="lower_bound concerns a sensitivity or specificity")
    labels, scores = binary_scores(y, score)
    curve = roc_curve(labels, scores)
    n, positives = len(labels), int(labels.sum())
    negatives = n - positives
    share = positives / n if prevalence is None else fraction(prevalence, "prevalence", open_low=True, open_high=True)
    tp = np.rint(curve.tpr * positives).astype(int)
    tn = negatives - np.rint(curve.fpr * negatives).astype(int)
    if sensitivity is not None:
        value = fraction(sensitivity, "sensitivity", open_low=True)
        index = _first(tp, positives, value, tn == 0, "sensitivity", level, method, lower_bound)
        rule = f"highest cut-off with {'lower limit of ' if lower_bound else ''}sensitivity >= {value:g}"
    elif specificity is not None:
        value = fraction(specificity, "specificity", open_low=True)
        back = _first(tn[::-1], negatives, value, tp[::-1] == 0, "specificity", level, method, lower_bound)
        index = len(tn) - 1 - back
        rule = f"lowest cut-off with {'lower limit of ' if lower_bound else ''}specificity >= {value:g}"
    else:
        price = cost if isinstance(cost, Cost) else Cost(float(cost or 0.0), 1.0)
        expected = _expected_cost(price, share, tp / positives, tn / negatives)
        index = len(expected) - 1 - int(np.argmin(expected[::-1]))
        value = float(expected[index])
        rule = f"least cost, false negative {price.false_negative:g} to false positive {price.false_positive:g}"
    threshold = float(curve.threshold[index]) if index else float(np.nextafter(scores.max(), np.inf))
    return _point(
        threshold,
        asked[0],
        value,
        int(tp[index]),
        positives,
        int(tn[index]),
        negatives,
        prevalence,
        level,
        method,
        rule,
    )


def _first(
    hits: NDArray[np.int_],
    total: int,
    value: float,
    trivial: NDArray[np.bool_],
    name: str,
    level: float,
    method: ProportionMethod,
    lower_bound: bool,
) -> int:
    """First point of an ascending run of hits that meets the constraint, refused when it is trivial."""
    if lower_bound:

        def rate(hit: int) -> float:
            return proportion_interval(hit, total, level, method).low
    else:

        def rate(hit: int) -> float:
            return hit / total

    # Hits ascend and both rates ascend with them, so that a search by halves asks for few intervals.
    first = bisect_left(range(len(hits)), True, key=lambda i: rate(int(hits[i])) >= value)
    if first < len(hits) and not trivial[first]:
        return first
    useful = hits[~trivial]
    best = f"{rate(int(useful.max())):.4g}" if len(useful) else "none"
    what = "lower limit of the " if lower_bound else ""
    side = "positive" if name == "sensitivity" else "negative"
    raise BadInputError(
        f"no cut-off reaches the {name} asked for",
        item=f"{what}{name} >= {value:g}",
        why=f"short of calling every case {side}, the best is {best} ({total} {side} cases)",
        fix=f"ask for less, or use a model that separates the classes better{', or more cases' if lower_bound else ''}",
    )


def _expected_cost(price: Cost, prevalence: float, sens: Floats, spec: Floats) -> Floats:
    for name in ("false_negative", "false_positive"):
        amount = getattr(price, name)
        if not (math.isfinite(amount) and amount >= 0):
            raise BadInputError("cannot use cost", item=name, why=f"{amount} is not a finite amount >= 0")
    if price.false_negative == price.false_positive == 0:
        raise BadInputError("cannot use cost", why="both errors are free")
    return price.false_negative * prevalence * (1 - sens) + price.false_positive * (1 - prevalence) * (1 - spec)


def _point(
    threshold: float,
    target: str,
    value: float,
    tp: int,
    positives: int,
    tn: int,
    negatives: int,
    prevalence: float | None,
    level: float,
    method: ProportionMethod,
    rule: str,
) -> OperatingPoint:
    fp, fn, n = negatives - tn, positives - tp, positives + negatives
    share = positives / n if prevalence is None else prevalence
    odds = share / (1 - share)
    ppv = npv = None
    if prevalence is None:
        ppv = proportion_interval(tp, tp + fp, level, method) if tp + fp else None
        npv = proportion_interval(tn, tn + fn, level, method) if tn + fn else None
    else:
        ppv = predictive_interval(tp, positives, fp, negatives, odds, level) if tp + fp else None
        npv = predictive_interval(tn, negatives, fn, positives, 1 / odds, level) if tn + fn else None
    return OperatingPoint(
        threshold=threshold,
        target=target,  # type: ignore[arg-type]  # one of the three names by construction
        value=value,
        sensitivity=_named(proportion_interval(tp, positives, level, method), "sensitivity"),
        specificity=_named(proportion_interval(tn, negatives, level, method), "specificity"),
        ppv=None if ppv is None else _named(ppv, "ppv"),
        npv=None if npv is None else _named(npv, "npv"),
        n=n,
        positives=positives,
        prevalence=share,
        rule=rule,
    )


def _named(rate: Measure, name: str) -> Measure:
    return rate.named(name, higher_is_better=True)


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit against threshold probability (Vickers and Elkin, Med Decis Making 2006).

    Attributes:
        threshold: Threshold probabilities, shape `(k,)`.
        model: Net benefit of treating those with probability >= threshold.
        treat_all: Net benefit of treating everyone.
        treat_none: Zeros.
        prevalence: Prevalence used.
    """

    threshold: Floats
    model: Floats
    treat_all: Floats
    treat_none: Floats
    prevalence: float


def decision_curve(
    y: ArrayLike, probability: ArrayLike, thresholds: ArrayLike | None = None, prevalence: float | None = None
) -> DecisionCurve:
    """Decision curve: net benefit = p se - (1 - p) (1 - sp) t / (1 - t).

    Args:
        y: Labels 0/1, shape `(n,)`.
        probability: Calibrated probabilities, shape `(n,)`.
        thresholds: Threshold probabilities in (0, 1); 0.01 to 0.99 by default.
        prevalence: Prevalence `p`; that of the sample by default.

    Returns:
        The curve with its two reference strategies.

    Raises:
        BadInputError: One class, values outside [0, 1], or thresholds outside (0, 1).
    """
    from vesalius.metrics.checks import probabilities

    labels, values = binary_scores(y, probabilities(probability))
    t = np.arange(1, 100) / 100 if thresholds is None else finite(thresholds, "thresholds")
    if len(t) == 0 or (t <= 0).any() or (t >= 1).any():
        raise BadInputError("cannot use thresholds", why="they must lie strictly between 0 and 1")
    positive, negative = np.sort(values[labels]), np.sort(values[~labels])
    sens = 1 - np.searchsorted(positive, t, side="left") / len(positive)
    fpr = 1 - np.searchsorted(negative, t, side="left") / len(negative)
    share = len(positive) / len(labels) if prevalence is None else fraction(prevalence, "prevalence")
    odds = t / (1 - t)
    return DecisionCurve(
        t, share * sens - (1 - share) * fpr * odds, share - (1 - share) * odds, np.zeros_like(t), share
    )
