"""Cases from tables: the reader of every layout that columns and paths describe."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.cases import Box, Case, Geometry, Image, Label, Point, Region, Report, Source
from vesalius.errors import MissingError, VesaliusError
from vesalius.sources.layouts import masks
from vesalius.sources.layouts.files import FileIndex, Refused, rows, stem_of
from vesalius.sources.layouts.layout import CLASS, Column, Layout, RegionTable
from vesalius.sources.layouts.values import parse

_SOURCE = {"split": "split", "licence": "licence", "url": "url", "source_id": "id"}


@dataclass
class _Draft:
    """What the cells of one row have said so far."""

    id: str = ""
    patient: str = ""
    time: str | float | None = None
    image: Path | None = None
    modality: str = ""
    view: str = ""
    body_part: str = ""
    spacing: float | None = None
    meta: dict[str, str | int | float] = field(default_factory=dict)
    masks: list[Region] = field(default_factory=list)
    report: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    attributes: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)


def read(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Cases of a layout, one for each row of its table (or each image, where rows are regions).

    Args:
        layout: The description.
        folder: The data set.
        refused: Gets `(file:line, why)` for what could not be used.

    Raises:
        MissingError: The table is not there.
    """
    for case, _ in read_rows(layout, folder, refused):
        yield case


def read_rows(layout: Layout, folder: Path, refused: Refused) -> Iterator[tuple[Case, Mapping[str, str]]]:
    """Like `read`, each case with the row it was made from, for readers that add to it."""
    index = FileIndex(folder, layout.image_roots, layout.suffixes)
    sides = [(table, _by_key(table, folder, refused)) for table in layout.regions]
    seen: dict[str, str] = {}
    per_region = any(t.file == layout.table for t in layout.regions)
    for file in tables(folder, layout.table):
        for line, row in rows(file, refused):
            where = f"{file.name}:{line}"
            draft = _Draft()
            try:
                _fill(draft, layout, row, index, refused, where)
            except (VesaliusError, ValueError) as error:
                refused.append((where, reason(error)))
                continue
            key = draft.id or (stem_of(draft.image.name) if draft.image else "")
            if not key:
                refused.append((where, "the row names neither a case nor an image"))
                continue
            if key in seen:
                if not per_region:
                    refused.append((where, f"{key} is there already, in {seen[key]}"))
                continue
            seen[key] = where
            regions = [*draft.masks, *_named_masks(draft, layout, index, refused)]
            names = _names(draft, row, layout)
            for table, groups in sides:
                for name in names:
                    regions += _regions(table, groups.pop(name, []), refused)
            yield _case(layout, key, draft, regions), row
    for _, groups in sides:
        for name, lines in groups.items():
            refused += [(where, f"{name[:100]} has no case") for where, _ in lines]


def tables(folder: Path, glob: str) -> list[Path]:
    """The files that match a glob, sorted.

    Raises:
        MissingError: None does.
    """
    found = [p for p in sorted(folder.glob(glob)) if p.is_file()]
    if not found:
        raise MissingError("table is not there", item=glob, why=f"nothing in {folder} matches")
    return found


def reason(error: Exception) -> str:
    """An error's cause in one line, for the list of what was refused."""
    if isinstance(error, VesaliusError):
        return ": ".join(part for part in (error.what, error.item, error.why) if part)
    return str(error)


def labels_of(cell: str, layout: Layout) -> dict[str, Label]:
    """A cell with several labels: those named are present, the others of the vocabulary absent.

    Raises:
        ValueError: A name is not in the vocabulary.
    """
    named = {part.strip() for part in cell.split(layout.separator) if part.strip()}
    known = (*layout.vocabulary, layout.no_finding)
    if strange := sorted(named - set(known)):
        raise ValueError(f"{strange[0]!r} is not a label of {layout.title}")
    if not named:
        return {}
    absent, present = (Label(value, source=layout.label_source) for value in (0, 1))
    return {name: present if name in named else absent for name in known}


def _fill(
    draft: _Draft, layout: Layout, row: Mapping[str, str], index: FileIndex, refused: Refused, where: str
) -> None:
    for pattern, column in layout.columns.items():
        for name in fnmatch.filter(row, pattern) if "*" in pattern else [pattern] if pattern in row else []:
            cell = row[name]
            if not cell:
                continue
            try:
                value = parse(cell, column.parse)
            except ValueError as error:
                if column.to.startswith("attr:"):
                    refused.append((where, f"{name}: {error}; it was left out"))
                    continue
                raise ValueError(f"{name}: {error}") from error
            if value is not None:
                _put(draft, layout, column, name, value, index, refused)


def _put(
    draft: _Draft, layout: Layout, column: Column, name: str, value: Any, index: FileIndex, refused: Refused
) -> None:
    field_, _, detail = column.to.partition(":")
    detail = detail or name
    if field_ == "image":
        draft.image = index.find(str(value))
    elif field_ == "mask":
        draft.masks += _mask(index.find(str(value)), detail, layout, refused)
    elif field_ == "labels":
        draft.labels |= labels_of(str(value), layout)
    elif field_ == CLASS:
        draft.labels[detail if ":" in column.to else CLASS] = Label(value, source=layout.label_source)
    elif field_ == "onehot":
        if value == 1:
            draft.labels[CLASS] = Label(detail, source=layout.label_source)
    elif field_ == "label":
        draft.labels[detail] = Label(value, unit=column.unit, source=layout.label_source)
    elif field_ == "attr":
        draft.attributes[detail] = value
    elif field_ == "report":
        draft.report[detail] = str(value)
    elif field_ in _SOURCE:
        draft.source[_SOURCE[field_]] = str(value)
    elif field_ == "meta":
        draft.meta[detail] = value
    elif field_ in {"id", "patient", "modality", "view", "body_part"}:
        setattr(draft, field_, str(value))
    elif field_ in {"time", "spacing"}:
        setattr(draft, field_, value)
    else:
        raise ValueError(f"the layout {layout.name} has a column for {column.to!r}, which no case has")


def _mask(path: Path, detail: str, layout: Layout, refused: Refused) -> list[Region]:
    label, _, annotator = detail.partition("@")
    if layout.mask_labels:
        return masks.class_regions(
            path,
            layout.mask_labels,
            kind=layout.kind,
            granularity=layout.granularity,
            annotator=annotator,
            refused=refused,
        )
    return [masks.binary_region(path, label, granularity=layout.granularity, annotator=annotator)]


def _named_masks(draft: _Draft, layout: Layout, index: FileIndex, refused: Refused) -> list[Region]:
    """Masks that a file's name ties to the image; an image need not have one."""
    found: list[Region] = []
    stem = stem_of(draft.image.name) if draft.image else ""
    for pattern, label in layout.masks.items() if stem else ():
        name = pattern.replace("{stem}", stem)
        try:
            path = index.find(name)
        except VesaliusError:
            continue
        try:
            found += _mask(path, label, layout, refused)
        except VesaliusError as error:
            refused.append((name, reason(error)))
    return found


def _case(layout: Layout, key: str, draft: _Draft, regions: list[Region]) -> Case:
    image = None
    if draft.image is not None:
        image = Image(
            uri=str(draft.image.absolute()),
            modality=draft.modality or layout.modality,
            view=draft.view or layout.view,
            kind=layout.kind,
            spacing=None if draft.spacing is None else (draft.spacing, draft.spacing),
            body_part=draft.body_part or layout.body_part,
            meta={**({"anatomy": layout.anatomy} if layout.anatomy else {}), **draft.meta},
        )
    return Case(
        id=f"{layout.name}/{key}",
        patient=f"{layout.name}/{draft.patient}" if draft.patient else "",
        time=draft.time,
        images=() if image is None else (image,),
        regions=tuple(regions),
        report=Report(**draft.report) if draft.report else None,
        labels={**{k: Label(v) for k, v in layout.known.items()}, **draft.labels},
        attributes={**layout.facts, **draft.attributes},
        source=Source(
            **{"dataset": layout.name, "licence": layout.licence, "url": layout.url, "id": key} | draft.source
        ),
    )


def _names(draft: _Draft, row: Mapping[str, str], layout: Layout) -> list[str]:
    """The names by which a table of regions may call this image."""
    cells = [row[c] for c, column in layout.columns.items() if column.to == "image" and row.get(c)]
    return list(dict.fromkeys(cells + ([draft.image.name] if draft.image else [])))


def _by_key(table: RegionTable, folder: Path, refused: Refused) -> dict[str, list[tuple[str, dict[str, str]]]]:
    groups: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    for file in sorted(folder.glob(table.file)):
        for line, row in rows(file, refused):
            if row.get(table.key):
                groups[row[table.key]].append((f"{file.name}:{line}", row))
            else:
                refused.append((f"{file.name}:{line}", f"{table.key} is empty or missing"))
    return groups


def _regions(table: RegionTable, lines: list[tuple[str, dict[str, str]]], refused: Refused) -> list[Region]:
    found = []
    for where, row in lines:
        try:
            numbers = [float(row[c]) for c in table.columns]
            found.append(
                Region(
                    _geometry(table, numbers),
                    table.rename.get(row[table.label], row[table.label]),
                    granularity=table.granularity,
                    annotator=table.annotator,
                    attributes=dict(table.attributes),
                )
            )
        except KeyError as error:
            refused.append((where, f"the column {error} is missing"))
        except (VesaliusError, ValueError) as error:
            refused.append((where, reason(error)))
    return found


def _geometry(table: RegionTable, numbers: list[float]) -> Geometry:
    if table.shape == "xy":
        return Point(numbers[0] - table.origin, numbers[1] - table.origin)
    x, y, a, b = numbers
    box = Box(x, y, a, b) if table.shape == "xyxy" else Box.from_xywh(x, y, a, b)
    return Box(box.x0 - table.origin, box.y0 - table.origin, box.x1 - table.origin, box.y1 - table.origin)
