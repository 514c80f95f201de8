"""Small steps that several readers share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from vesalius.cases import Case, Image, Source
from vesalius.errors import MissingError
from vesalius.sources.layouts.layout import Layout

_SPLITS = {
    "train": "train", "training": "train", "tr": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip


def split_name(text: str) -> str:
    """`train`, `val` or `test` when one word of a name says so, else ""."""
    for word in re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()):
        if word in _SPLITS:
            return _SPLITS[word]
    return ""


def source_of(layout: Layout, key: str, split: str = "") -> Source:
    """Where a case of this layout comes from."""
    return Source(layout.name, layout.licence, split, layout.url, key)


def image_of(layout: Layout, path: Path, *, modality: str = "", view: str = "", body_part: str = "") -> Image:
    """An image by its absolute path, with the layout's words where nothing closer is known."""
    return Image(
        uri=str(path.absolute()),
        modality=modality or layout.modality,
        view=view or layout.view,
        kind=layout.kind,
        body_part=body_part or layout.body_part,
    )


def pick(folder: Path, *globs: str) -> list[Path]:
    """The files of the first glob that matches any.

    Raises:
        MissingError: None matches.
    """
    for glob in globs:
        if found := [p for p in sorted(folder.glob(glob)) if p.is_file() and not p.name.startswith(".")]:
            return found
    raise MissingError("cannot read folder", item=str(folder), why=f"there is no {' or '.join(globs)}")


def link_priors(cases: Iterable[Case], order: Mapping[str, float | str]) -> list[Case]:
    """Each case linked to the one before it of the same patient.

    Args:
        cases: The cases; those without patient or place in `order` stay as they are.
        order: Case id to what a patient's cases are ordered by. Two with the same place are not linked to each other,
            as nothing says which came first.

    Returns:
        The cases in their own order.
    """
    kept = list(cases)
    visits: dict[str, list[Case]] = {}
    for case in kept:
        if case.patient and case.id in order:
            visits.setdefault(case.patient, []).append(case)
    prior: dict[str, str] = {}
    for own in visits.values():
        own.sort(key=lambda c: (order[c.id], c.id))
        for before, after in itertools.pairwise(own):
            if order[before.id] != order[after.id]:
                prior[after.id] = before.id
    return [c.replace(prior=prior[c.id]) if c.id in prior else c for c in kept]
