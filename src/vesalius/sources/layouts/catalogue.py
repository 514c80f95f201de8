"""All layouts by name, listed without importing their readers."""

from __future__ import annotations

import functools

from vesalius.errors import UsageError
from vesalius.sources.layouts import public
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.open_sets import readers as open_sets

__all__ = ["layout_named", "layouts", "reference"]


@functools.cache
def layouts() -> tuple[Layout, ...]:
    """Every layout that can be read, in the order in which they are tried; nothing heavy is imported."""
    return (*open_sets.LAYOUTS, *public.LAYOUTS)


def layout_named(name: str) -> Layout:
    """The layout of this name.

    Raises:
        UsageError: There is none.
    """
    for layout in layouts():
        if layout.name == name:
            return layout
    raise UsageError("no such layout", item=name, fix=f"use one of {', '.join(x.name for x in layouts())}")


def reference() -> str:
    """The table of all layouts in Markdown, for the generated reference."""
    lines = ["| layout | what | licence | written by `data convert` |", "|---|---|---|---|"]
    for layout in layouts():
        title = f"[{layout.title}]({layout.url})" if layout.url else layout.title
        lines.append(f"| `{layout.name}` | {title} | {layout.licence or '-'} | {'yes' if layout.writer else 'no'} |")
    return "\n".join(lines) + "\n"
