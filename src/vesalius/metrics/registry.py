"""The list of metrics: what each is, whose definition it follows, and what it does at the edges.

A metric is a plain function; `@metric(...)` beside it records its description. Listing imports numpy but never scipy,
so that help and the reference page stay fast.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from vesalius.errors import UsageError
from vesalius.metrics.measure import Measure

__all__ = ["MODULES", "Metric", "all_metrics", "described", "get", "metric"]

MODULES = (
    "classification.scores",
    "classification.rates",
    "classification.calibration",
    "classification.multilabel",
    "classification.regression",
    "retrieval",
    "detection.boxes",
    "detection.average_precision",
    "detection.froc",
    "detection.grounding",
    "detection.pointing",
    "segmentation.masks",
    "segmentation.instances",
    "language.text",
    "language.report",
    "language.vqa",
    "generation",
)

F = TypeVar("F", bound=Callable[..., Any])

_METRICS: dict[str, Metric] = {}


@dataclass(frozen=True)
class Metric:
    """A description of one metric.

    Attributes:
        name: Unique name, snake case.
        function: The function that computes it.
        definition: The definition in one or two sentences, formula included.
        source: Where the definition comes from.
        higher_is_better: Direction; `None` for a quantity without one.
        unit: Unit of the value ("1" for a ratio, "mm", "units of y").
        range: Smallest and largest possible value.
        edge_cases: What empty input, one class, ties and NaN lead to.
    """

    name: str
    function: Callable[..., Any]
    definition: str
    source: str
    higher_is_better: bool | None
    unit: str
    range: tuple[float, float]
    edge_cases: str

    @property
    def module(self) -> str:
        """Module that holds the function."""
        return self.function.__module__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the metric."""
        return self.function(*args, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """The description as plain data; infinite ends of the range are `None`."""
        ends = [None if abs(end) == float("inf") else end for end in self.range]
        return {
            "name": self.name,
            "function": f"{self.function.__module__}.{self.function.__qualname__}",
            "definition": self.definition,
            "source": self.source,
            "higher_is_better": self.higher_is_better,
            "unit": self.unit,
            "range": ends,
            "edge_cases": self.edge_cases,
        }


def metric(
    name: str,
    *,
    definition: str,
    source: str,
    higher_is_better: bool | None = True,
    unit: str = "1",
    range: tuple[float, float] = (0.0, 1.0),
    edge_cases: str,
) -> Callable[[F], F]:
    """Describe the decorated function as a metric; the function itself is left as it is.

    Args:
        name: See `Metric`, as the others.
        definition: Definition.
        source: Source of the definition.
        higher_is_better: Direction.
        unit: Unit.
        range: Smallest and largest possible value.
        edge_cases: Policy at the edges.

    Returns:
        A decorator.
    """

    def register(function: F) -> F:
        if name in _METRICS and _METRICS[name].function.__qualname__ != function.__qualname__:
            raise ValueError(f"two metrics are called {name!r}")
        _METRICS[name] = Metric(name, function, definition, source, higher_is_better, unit, range, edge_cases)
        return function

    return register


def all_metrics() -> tuple[Metric, ...]:
    """Every metric of vesalius, by module and then by name."""
    for module in MODULES:
        importlib.import_module(f"vesalius.metrics.{module}")
    return tuple(sorted(_METRICS.values(), key=lambda m: (m.module, m.name)))


def described(found: Measure, name: str, about: str = "") -> Measure:
    """A number under the name of a metric of the list, with that metric's unit, direction and definition.

    Args:
        found: The number; only its value, interval and what it rests on are kept.
        name: The metric.
        about: Class, group or finding that it is about.

    Raises:
        UsageError: There is no such metric.
    """
    one = _METRICS.get(name) or get(name)
    return found.named(name, about, unit=one.unit, higher_is_better=one.higher_is_better, definition=one.definition)


def get(name: str) -> Metric:
    """The metric called `name`.

    Raises:
        UsageError: There is none; close names are suggested.
    """
    known = {m.name: m for m in all_metrics()}
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, n=3)
        raise UsageError(
            "unknown metric",
            item=name,
            fix=f"did you mean {', '.join(near)}?"
            if near
            else "list them with vesalius.metrics.registry.all_metrics()",
        )
    return known[name]
