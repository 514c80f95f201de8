"""HTML pages from templates: one base page, light and dark, that needs nothing else and quotes all text.

A page is made of sections, a section of parts: a plot, a table, a paragraph, something to fold out, parts side by side.
Text goes through the template engine, which quotes it; only plots (`render.svg`) are markup, and they quote their own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

__all__ = ["Beside", "Fold", "Part", "Plot", "Row", "Section", "Table", "Text", "number", "p_value", "page"]


@dataclass(frozen=True)
class Plot:
    """A drawing of `render.svg`.

    Args:
        svg: Its markup; the only text of a page that is not quoted again.
    """

    svg: Markup
    kind: ClassVar[str] = "plot"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Row:
    """A line of a table; an alarm stands out."""

    cells: Sequence[str]
    alarm: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        head: Names of the columns.
        rows: Lines.
        numeric: Columns that are set to the right.
    """

    head: Sequence[str]
    rows: Sequence[Row]
    numeric: Collection[int] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Fold:
    """A part that is folded away under a line."""

    summary: str
    part: Part
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Beside:
    """Parts side by side where there is room."""

    parts: Sequence[Part]
    kind: ClassVar[str] = "beside"


Part: TypeAlias = Plot | Text | Table | Fold | Beside


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it.

    Args:
        title: Heading.
        note: A soft line under it.
        parts: What follows.
    """

    title: str
    note: str = ""
    parts: Sequence[Part] = ()


def number(value: float | None, digits: int = 3) -> str:
    """A number as a page shows it; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def p_value(value: float | None) -> str:
    """A p-value as a page shows it, "" where nothing was tested."""
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def page(template: str, title: str, sections: Iterable[Section] = (), **values: Any) -> str:
    """A whole page as text.

    Args:
        template: Name of a template in `render/templates`, such as `audit`.
        title: Title of the page.
        sections: What it is made of.
        values: What else the template names; all text is quoted.
    """
    found = _environment().get_template(f"{template}.html.j2")
    return found.render(title=title, sections=tuple(sections), **values) + "\n"


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,  # a name that nothing gives is a fault, never an empty place
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    return made
