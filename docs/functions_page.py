"""`docs/reference/functions.md`: what gives more than one number (intervals, tests, curves), from docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from vesalius.metrics.registry import all_metrics


def _in(room: str, modules: str) -> tuple[str, ...]:
    return tuple(f"{room}.{module}" for module in modules.split())


#: Heading to the modules whose public functions stand under it.
ROOMS = {
    "Intervals, tests and sample sizes": _in("metrics.statistics", "intervals bootstrap inference"),
    "Operating points and curves": (
        *_in("metrics.classification", "operating rates scores calibration"), "metrics.detection.froc",
    ),
    "Whole reports of one task": (
        *_in("metrics.classification", "multilabel regression"), "metrics.retrieval",
        *_in("metrics.detection", "average_precision grounding pointing"),
        *_in("metrics.segmentation", "masks instances"), *_in("metrics.language", "vqa report"), "metrics.generation",
    ),
    "Audits": _in("audit", "subgroups shortcuts robustness blind pairs prompts injection leakage"),
}  # fmt: skip


def page(note: str) -> str:
    """The whole page."""
    out = [
        note,
        "# Functions beside the metrics\n",
        "What gives an interval, a test, a curve or a whole report instead of one number. A docstring has the",
        "arguments, the formula and its source.\n",
    ]
    for heading, modules in ROOMS.items():
        out += [f"## {heading}\n", "| function | what it gives | refuses |", "| --- | --- | --- |"]
        out += [row for module in modules for row in _rows(module)]
        out.append("")
    return "\n".join(out)


def functions(module: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """A module's public functions that are no metric of one number (`metrics.md` has those)."""
    made = importlib.import_module(f"vesalius.{module}")
    known = {m.function for m in all_metrics()}
    for name in made.__all__:
        value = getattr(made, name)
        if inspect.isfunction(value) and value not in known:
            yield name, value


def _rows(module: str) -> Iterator[str]:
    for name, function in functions(module):
        text = inspect.getdoc(function) or ""
        first = " ".join(text.split("\n\n")[0].split())
        raises = text.partition("\nRaises:\n")[2].split("\n\n")[0]
        refuses = " ".join(line.strip() for line in raises.splitlines())
        cells = (f"`{module}.{name}`", first, refuses or "-")
        yield "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"
