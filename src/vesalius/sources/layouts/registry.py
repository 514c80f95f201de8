"""All layouts by name, listed without importing their readers, and folders read through them."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vesalius.cases import Case, CaseSet
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.sources.layouts import public
from vesalius.sources.layouts.files import Refused
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.open_sets import readers as open_sets


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


def resolve(target: str) -> Callable[..., Any]:
    """The function that `module:function` names; only modules of this room are imported."""
    module, _, function = target.partition(":")
    if not module.startswith("vesalius.sources."):
        raise UsageError("a layout's code must live in vesalius.sources", item=target)
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def import_folder(folder: str | os.PathLike[str], layout: str | None = None, *, stream: bool = False) -> CaseSet:
    """Read a folder in a public layout; images stay where they are and are named by absolute path.

    Args:
        folder: The data set.
        layout: A name of `layouts()`; found by itself when None.
        stream: Read while iterating instead of now. `refused` then fills as the cases are read.

    Returns:
        The cases. `name` is the layout; `refused` lists `(item, why)` for everything that could not be used.

    Raises:
        MissingError: The folder, or a file the layout needs, is not there.
        BadInputError: No layout fits, or none of the folder's cases could be read.
        UsageError: There is no layout of this name.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        raise MissingError("folder is not there", item=str(path))
    if layout is None:
        from vesalius.sources.layouts.detect import detect

        found = detect(path)
        if not found:
            raise BadInputError(
                "cannot tell the layout",
                item=str(path),
                why="no table, description or folder structure that is known was found",
                fix="name the layout, or read plain images with `vesalius.read`",
            )
        layout = found[0].name
    description = layout_named(layout)
    reader = resolve(description.reader)
    refused: Refused = []

    def cases() -> Iterator[Case]:
        refused.clear()
        seen: set[str] = set()
        for case in reader(description, path, refused):
            if case.id in seen:
                refused.append((case.id, "there is a case of this id already"))
                continue
            seen.add(case.id)
            yield case

    result = CaseSet(cases, root=path, name=layout)
    result.refused = refused
    if not stream and not len(result):
        first = "".join(f"; {item}: {why}" for item, why in refused[:3])
        raise BadInputError(
            "no case could be read", item=str(path), why=f"as {layout}, {len(refused)} items were refused{first}"
        )
    return result
