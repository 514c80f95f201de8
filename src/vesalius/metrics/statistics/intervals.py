"""Proportions with their intervals: Wilson, Clopper-Pearson, predictive values at a stated prevalence."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import fraction
from vesalius.metrics.measure import Measure

__all__ = [
    "ProportionMethod",
    "clopper_pearson",
    "normal_quantile",
    "predictive_interval",
    "proportion_interval",
    "wilson",
]

ProportionMethod = Literal["clopper-pearson", "wilson"]


def normal_quantile(level: float) -> float:
    """Two-sided standard normal quantile: 1.96 for a level of 0.95."""
    return NormalDist().inv_cdf(0.5 + fraction(level, "level", open_low=True, open_high=True) / 2)


def _counts(successes: int, n: int) -> None:
    if n <= 0:
        raise BadInputError("no interval for a proportion", why=f"n is {n}")
    if not 0 <= successes <= n:
        raise BadInputError("no interval for a proportion", why=f"{successes} successes in {n} trials")


def wilson(successes: int, n: int, level: float = 0.95) -> Measure:
    """A proportion with Wilson's score interval (Wilson, J Am Stat Assoc 1927), from scipy.

    Args:
        successes: Number of successes.
        n: Number of trials, at least one.
        level: Confidence level.

    Returns:
        The proportion; its interval lies within [0, 1] by construction.

    Raises:
        BadInputError: Impossible counts.

    Examples:
        >>> print(wilson(9, 10))
        0.900 [0.596, 0.982], n = 10
    """
    return _proportion(successes, n, level, "wilson")


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Measure:
    """A proportion with its exact (conservative) interval (Clopper and Pearson, Biometrika 1934), from scipy.

    Args:
        successes: Number of successes.
        n: Number of trials, at least one.
        level: Confidence level.

    Returns:
        The proportion with its interval from the beta quantiles.

    Raises:
        BadInputError: Impossible counts.
    """
    return _proportion(successes, n, level, "clopper-pearson")


def _proportion(successes: int, n: int, level: float, method: ProportionMethod) -> Measure:
    from scipy.stats import binomtest

    if n <= 0:
        raise BadInputError("no interval for a proportion", why=f"n is {n}")
    if not 0 <= successes <= n:
        raise BadInputError("no interval for a proportion", why=f"{successes} successes in {n} trials")
    level = fraction(level, "level", open_low=True, open_high=True)
    found = binomtest(successes, n).proportion_ci(level, "wilson" if method == "wilson" else "exact")
    return Measure(successes / n, float(found.low), float(found.high), level, method, n)


def proportion_interval(
    successes: int, n: int, level: float = 0.95, method: ProportionMethod = "clopper-pearson"
) -> Measure:
    """A proportion with its interval, by name of the method.

    Raises:
        UsageError: Unknown method.
        BadInputError: Impossible counts.
    """
    if method == "clopper-pearson":
        return clopper_pearson(successes, n, level)
    if method == "wilson":
        return wilson(successes, n, level)
    raise UsageError("unknown interval", item=str(method), fix="use clopper-pearson or wilson")


def predictive_interval(hits: int, n_hit: int, errors: int, n_error: int, odds: float, level: float = 0.95) -> Measure:
    """A predictive value with its interval at a stated prevalence (Mercaldo, Lau and Zhou, Stat Med 2007; logit form).

    The predictive value is `1 / (1 + error rate / (hit rate * odds))`; for the PPV the hits are true positives among
    the positives, the errors false positives among the negatives and the odds those of disease; for the NPV true and
    false negatives and the odds of health.

    Each rate gets half a pseudo-case on either side, so that rates of 0 and 1 keep a finite variance; a predictive
    value observed as 0 or 1 keeps that limit.

    Args:
        hits: Numerator of the hit rate.
        n_hit: Its denominator.
        errors: Numerator of the error rate.
        n_error: Its denominator.
        odds: Prior odds of what is predicted.
        level: Confidence level.

    Returns:
        The predictive value and its interval; NaN where nothing is predicted.
    """
    z = normal_quantile(level)
    n_a, n_b = n_hit + 1, n_error + 1
    hit, error = (hits + 0.5) / n_a, (errors + 0.5) / n_b
    logit = math.log(hit / error * odds)
    half = z * math.sqrt((1 - hit) / (hit * n_a) + (1 - error) / (error * n_b))
    low, high = (1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1))
    low, high = (0.0 if hits == 0 else low), (1.0 if errors == 0 else high)
    right, wrong = hits / n_hit * odds, errors / n_error
    value = right / (right + wrong) if right + wrong > 0 else math.nan
    return Measure(value, low, high, level, "logit (stated prevalence)", n_hit + n_error)
