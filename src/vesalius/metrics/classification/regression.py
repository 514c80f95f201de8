"""Numbers against numbers: absolute error, explained variance, limits of agreement (age, ejection fraction)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError
from vesalius.metrics.checks import finite, same_length
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import metric

__all__ = ["BlandAltman", "bland_altman", "mae", "r2", "rmse", "within"]

_EDGES = "Empty input, unequal lengths, NaN and infinity are errors."


def _pair(y: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    true, guess = finite(y, "y"), finite(predicted, "predicted")
    same_length(("y", true), ("predicted", guess))
    return true, guess


@metric(
    "mae",
    definition="Mean absolute difference between prediction and truth.",
    source="standard",
    higher_is_better=False,
    unit="unit of y",
    range=(0.0, float("inf")),
    edge_cases=_EDGES,
)
def mae(y: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error of `predicted` against `y`, both of shape `(n,)`, in their unit."""
    true, guess = _pair(y, predicted)
    return float(np.mean(np.abs(true - guess)))


@metric(
    "rmse",
    definition="Root of the mean squared difference between prediction and truth.",
    source="standard",
    higher_is_better=False,
    unit="unit of y",
    range=(0.0, float("inf")),
    edge_cases=_EDGES,
)
def rmse(y: ArrayLike, predicted: ArrayLike) -> float:
    """Root mean squared error of `predicted` against `y`, both of shape `(n,)`, in their unit."""
    true, guess = _pair(y, predicted)
    return float(np.sqrt(np.mean((true - guess) ** 2)))


@metric(
    "r2",
    definition="Coefficient of determination, 1 - sum (y - prediction)^2 / sum (y - mean y)^2.",
    source="standard",
    range=(-float("inf"), 1.0),
    edge_cases=_EDGES + " Constant y is an error.",
)
def r2(y: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination of `predicted` for `y`, both of shape `(n,)`."""
    true, guess = _pair(y, predicted)
    if (true == true[0]).all():
        raise BadInputError("R2 is undefined", why="all true values are equal")
    return float(1 - np.sum((true - guess) ** 2) / np.sum((true - true.mean()) ** 2))


@metric(
    "within",
    definition="Share of predictions no further than a tolerance from the truth (12 months by custom for bone age).",
    source="Halabi et al., Radiology 2019, reported beside the mean absolute difference",
    edge_cases=_EDGES,
)
def within(y: ArrayLike, predicted: ArrayLike, tolerance: float = 12.0) -> float:
    """Share of cases with an absolute error of at most `tolerance`, in the unit of `y`."""
    true, guess = _pair(y, predicted)
    return float(np.mean(np.abs(true - guess) <= tolerance))


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of two measurements (Bland and Altman, Lancet 1986).

    Attributes:
        bias: Mean of prediction - truth, in the unit of y, with its t interval.
        sd: Standard deviation of the differences (n - 1).
        lower: Lower limit of agreement, bias - 1.96 sd, with its approximate t interval (standard error sd sqrt(3/n)).
        upper: Upper limit of agreement, likewise.
        n: Cases.
    """

    bias: Measure
    sd: float
    lower: Measure
    upper: Measure
    n: int


def bland_altman(y: ArrayLike, predicted: ArrayLike, level: float = 0.95) -> BlandAltman:
    """Bias and limits of agreement.

    Args:
        y: Truth or first method, shape `(n,)`.
        predicted: Prediction or second method, shape `(n,)`.
        level: Confidence level of the three intervals (the limits of agreement themselves are at 1.96 sd).

    Returns:
        The analysis of `predicted - y`.

    Raises:
        BadInputError: Fewer than two cases, NaN, or unequal lengths.
    """
    from scipy.special import stdtrit

    true, guess = _pair(y, predicted)
    n = len(true)
    if n < 2:
        raise BadInputError("limits of agreement are undefined", why="they need at least two cases")
    difference = guess - true
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    quantile = float(stdtrit(n - 1, 0.5 + level / 2))

    def around(name: str, centre: float, error: float) -> Measure:
        low, high = centre - quantile * error, centre + quantile * error
        return Measure(centre, low, high, level, "t", n, name=name, unit="unit of y")

    limit_error = sd * math.sqrt(3 / n)
    return BlandAltman(
        around("bias", bias, sd / math.sqrt(n)),
        sd,
        around("lower limit of agreement", bias - 1.96 * sd, limit_error),
        around("upper limit of agreement", bias + 1.96 * sd, limit_error),
        n,
    )
