"""Cases written in another layout, with a report of what that layout could not hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vesalius.cases import Case, CaseSet
from vesalius.errors import UsageError
from vesalius.sources.layouts.registry import layout_named, layouts, resolve
from vesalius.sources.layouts.reports import ConvertReport, Lost

__all__ = ["ConvertReport", "convert", "writable"]


def writable() -> tuple[str, ...]:
    """Names of the layouts that `convert` writes."""
    return tuple(layout.name for layout in layouts() if layout.writer)


def convert(cases: CaseSet | Iterable[Case], layout: str, out: str | os.PathLike[str], **options: Any) -> ConvertReport:
    """Write cases in a public layout.

    Args:
        cases: What to write.
        layout: One of `writable()`: `coco`, `voc`, `llava`, `csv-images`, `folder-per-class`, `medmnist`, `nnunet`.
        out: Folder; must be empty or not there.
        **options: `label` (for `folder-per-class` and `medmnist`): which label is the class.

    Returns:
        How many cases were written, each kind of fact that the layout has no place for with its count, and the cases
        that were refused.

    Raises:
        UsageError: The layout is not written, an option is not known, or the folder is not empty.
    """
    description = layout_named(layout)
    if not description.writer:
        raise UsageError("cannot write this layout", item=layout, fix=f"use one of {', '.join(writable())}")
    if over := set(options) - ({"label"} if layout in {"folder-per-class", "medmnist"} else set()):
        raise UsageError("no such option for this layout", item=f"{layout}: {sorted(over)[0]}")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "will not write into a folder that is not empty", item=str(folder), fix="choose another folder"
        )
    lost = Lost()
    source = cases if isinstance(cases, CaseSet) else CaseSet(cases)
    written: int = resolve(description.writer)(source, folder, lost, **options)
    facts = tuple((what, why, n) for (what, why), n in sorted(lost.facts.items()))
    return ConvertReport(layout, str(folder), written, facts, tuple(lost.refused))
