"""One number as it is reported: with its interval, what it rests on, and what it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vesalius.errors import BadInputError

__all__ = ["Measure"]


@dataclass(frozen=True)
class Measure:
    """A number with its interval.

    Every figure of the package is one of these, or a record that adds to it (`Bootstrap` its replicates, `AucEstimate`
    its standard error, `Comparison` its p-value).

    Args:
        value: The number; NaN where it is undefined.
        low: Lower limit; NaN where no interval was made.
        high: Upper limit.
        level: Confidence level of the interval.
        method: How the interval was made (`wilson`, `bootstrap percentile, clustered`).
        n: Cases (or images, boxes, reports) that it rests on.
        patients: Patients they belong to; None where cases were taken one by one.
        name: Name of the metric (`auroc`), as the registry has it where it is there.
        about: Class, group or finding that it is about; "" for all.
        unit: "1" for a ratio, else what it is measured in.
        higher_is_better: Direction; None for a quantity without one.
        definition: What is computed, in a sentence.

    Raises:
        BadInputError: One limit without the other, or limits in the wrong order.

    Examples:
        >>> sensitivity = Measure(0.9, 0.821, 0.947, method="wilson", n=80, patients=74, name="sensitivity")
        >>> print(sensitivity)
        sensitivity 0.900 [0.821, 0.947], n = 80 of 74 patients
        >>> f"{sensitivity:.1%}"
        '90.0% [82.1%, 94.7%]'
        >>> 0.85 in sensitivity
        True
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    method: str = ""
    n: int = 0
    patients: int | None = None
    name: str = ""
    about: str = ""
    unit: str = "1"
    higher_is_better: bool | None = None
    definition: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.low) != math.isnan(self.high) or self.low > self.high:
            raise BadInputError("not an interval", item=self.name, why=f"its limits are {self.low} and {self.high}")

    @property
    def has_interval(self) -> bool:
        """Whether an interval was made."""
        return not math.isnan(self.low)

    @property
    def width(self) -> float:
        """Distance between the limits; NaN without an interval."""
        return self.high - self.low

    def __float__(self) -> float:
        """The value."""
        return self.value

    def __contains__(self, value: float) -> bool:
        """Whether a number lies within the interval; never where there is none."""
        return self.low <= value <= self.high

    def limits(self, form: str = ".3f") -> str:
        """The interval as text, "" where there is none."""
        return f"[{self.low:{form}}, {self.high:{form}}]" if self.has_interval else ""

    def __format__(self, form: str) -> str:
        """Value and interval, each in this form (`.3f` if none is given)."""
        form = form or ".3f"
        return f"{self.value:{form}} {self.limits(form)}".rstrip()

    def __str__(self) -> str:
        """Name, value, interval, unit and what it rests on, in a line."""
        name = f"{self.name} ({self.about})" if self.about and self.name else self.name or self.about
        unit = "" if self.unit == "1" else f" {self.unit}"
        of = f" of {self.patients:,} patient{'s' if self.patients != 1 else ''}" if self.patients is not None else ""
        rests = f", n = {self.n:,}{of}" if self.n else ""
        return f"{name} {format(self, '')}{unit}{rests}".lstrip()

    def named(self, name: str, about: str = "", **more: Any) -> Measure:
        """The same number as a plain measure of that name; `more` sets other fields."""
        return Measure(**{**self._fields(), "name": name, "about": about, **more})

    def moved(self, by: float) -> Measure:
        """The number and its limits with a constant added: a share less the share asked for."""
        return Measure(**{**self._fields(), "value": self.value + by, "low": self.low + by, "high": self.high + by})

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what does not exist is None."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in self._fields().items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measure:
        """The inverse of `to_dict`; a plain measure.

        Raises:
            BadInputError: A field is missing or unknown.
        """
        names = {f.name for f in dataclasses.fields(Measure)}
        if set(data) != names:
            raise BadInputError("not a measure", why=f"fields differ: {', '.join(sorted(names ^ set(data)))}")
        numbers = {k: math.nan if data[k] is None else float(data[k]) for k in ("value", "low", "high")}
        return Measure(**{**data, **numbers})

    def _fields(self) -> dict[str, Any]:
        """The fields of a plain measure, without what a subclass adds."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(Measure)}
