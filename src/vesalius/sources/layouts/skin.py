"""Skin photograph sets: short class names spelled out, metadata tables joined by image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vesalius.cases import Case, Label
from vesalius.sources.layouts.files import Refused, header, rows
from vesalius.sources.layouts.layout import CLASS, Layout
from vesalius.sources.layouts.public import HAM_CLASSES
from vesalius.sources.layouts.tabular import read as read_table
from vesalius.sources.layouts.values import parse


def read_ham(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """HAM10000 with classes spelled out; photographs of one lesion share a patient."""
    for case in read_table(layout, folder, refused):
        short = str(case.label(CLASS) or "")
        if short not in HAM_CLASSES:
            refused.append((case.id, f"dx {short!r} is not one of {', '.join(HAM_CLASSES)}"))
            continue
        yield case.replace(labels={**case.labels, CLASS: Label(HAM_CLASSES[short])})


def read_isic(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """A challenge's ground truth, with age, sex, site and lesion from its metadata table where that is beside."""
    about: dict[str, dict[str, str]] = {}
    for file in sorted(folder.glob("*.csv")):
        columns = set(header(file))
        key = "image_id" if "image_id" in columns else "image"
        if columns & {"age_approximate", "age_approx", "lesion_id"}:
            about |= {row[key]: row for _, row in rows(file, refused) if row.get(key)}
    for case in read_table(layout, folder, refused):
        row = about.get(case.source.id, {})
        attributes = dict(case.attributes)
        for column, name, how in (
            ("age_approximate", "age", "age"),
            ("age_approx", "age", "age"),
            ("sex", "sex", "sex"),
            ("anatom_site_general", "site", "text"),
        ):
            try:
                value = parse(row.get(column, ""), how)  # type: ignore[arg-type] # the literals of this tuple
            except ValueError as error:
                refused.append((case.id, f"{column}: {error}; it was left out"))
                continue
            if value is not None:
                attributes[name] = value
        lesion = row.get("lesion_id", "")
        yield case.replace(attributes=attributes, patient=f"{layout.name}/{lesion}" if lesion else case.patient)
