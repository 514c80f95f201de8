"""Folders read through the layout they are in, named or found out."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vesalius.cases import Case, CaseSet
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.sources.layouts.catalogue import layout_named, layouts, reference
from vesalius.sources.layouts.detect import detect
from vesalius.sources.layouts.files import Refused

__all__ = ["import_folder", "layout_named", "layouts", "reference", "resolve"]


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
