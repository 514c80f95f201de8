"""Intervals: the record of one, and those of a proportion (Wilson, Clopper-Pearson)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import fraction

__all__ = [
    "Interval",
    "ProportionMethod",
    "clopper_pearson",
    "normal_quantile",
    "predictive_interval",
    "proportion_interval",
    "wilson",
]

ProportionMethod = Literal["clopper-pearson", "wilson"]


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Lower limit.
        high: Upper limit.
        level: Confidence level, for example 0.95.
        method: How it was made.
        n: Cases it rests on.
    """

    low: float
    high: float
    level: float
    method: str
    n: int

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"[{self.low:.3f}, {self.high:.3f}]"

    @property
    def width(self) -> float:
        """Distance between the limits."""
        return self.high - self.low

    def to_dict(self) -> dict[str, Any]:
        """The interval as plain data."""
        return {"low": self.low, "high": self.high, "level": self.level, "method": self.method, "n": self.n}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Interval:
        """The inverse of `to_dict`."""
        return cls(float(data["low"]), float(data["high"]), float(data["level"]), str(data["method"]), int(data["n"]))


def normal_quantile(level: float) -> float:
    """Two-sided standard normal quantile: 1.96 for a level of 0.95."""
    return NormalDist().inv_cdf(0.5 + fraction(level, "level", open_low=True, open_high=True) / 2)


def _counts(successes: int, n: int) -> None:
    if n <= 0:
        raise BadInputError("no interval for a proportion", why=f"n is {n}")
    if not 0 <= successes <= n:
        raise BadInputError("no interval for a proportion", why=f"{successes} successes in {n} trials")


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion (Wilson, J Am Stat Assoc 1927).

    Args:
        successes: Number of successes.
        n: Number of trials, at least one.
        level: Confidence level.

    Returns:
        The interval, within [0, 1] by construction.

    Raises:
        BadInputError: Impossible counts.
    """
    _counts(successes, n)
    z = normal_quantile(level)
    p = successes / n
    shrink = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return Interval(low, high, level, "wilson", n)


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Exact (conservative) interval of a proportion (Clopper and Pearson, Biometrika 1934).

    Args:
        successes: Number of successes.
        n: Number of trials, at least one.
        level: Confidence level.

    Returns:
        The interval from the beta quantiles.

    Raises:
        BadInputError: Impossible counts.
    """
    from scipy.special import betaincinv

    _counts(successes, n)
    alpha = 1 - fraction(level, "level", open_low=True, open_high=True)
    low = 0.0 if successes == 0 else float(betaincinv(successes, n - successes + 1, alpha / 2))
    high = 1.0 if successes == n else float(betaincinv(successes + 1, n - successes, 1 - alpha / 2))
    return Interval(low, high, level, "clopper-pearson", n)


def proportion_interval(
    successes: int, n: int, level: float = 0.95, method: ProportionMethod = "clopper-pearson"
) -> Interval:
    """Interval of a proportion by name of the method.

    Raises:
        UsageError: Unknown method.
        BadInputError: Impossible counts.
    """
    if method == "clopper-pearson":
        return clopper_pearson(successes, n, level)
    if method == "wilson":
        return wilson(successes, n, level)
    raise UsageError("unknown interval", item=str(method), fix="use clopper-pearson or wilson")


def predictive_interval(hits: int, n_hit: int, errors: int, n_error: int, odds: float, level: float = 0.95) -> Interval:
    """Interval of a predictive value at a stated prevalence (Mercaldo, Lau and Zhou, Stat Med 2007; logit form).

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
        The interval.
    """
    z = normal_quantile(level)
    n_a, n_b = n_hit + 1, n_error + 1
    hit, error = (hits + 0.5) / n_a, (errors + 0.5) / n_b
    logit = math.log(hit / error * odds)
    half = z * math.sqrt((1 - hit) / (hit * n_a) + (1 - error) / (error * n_b))
    low, high = (1 / (1 + math.exp(-(logit + side * half))) for side in (-1, 1))
    low, high = (0.0 if hits == 0 else low), (1.0 if errors == 0 else high)
    return Interval(low, high, level, "logit (stated prevalence)", n_hit + n_error)
