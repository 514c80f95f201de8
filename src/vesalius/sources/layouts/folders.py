"""Folders of images: one folder a class, BUSI with its masks, and any CSV that names images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vesalius.cases import Case, Label
from vesalius.errors import MissingError, VesaliusError
from vesalius.sources.layouts.common import image_of, pick, source_of, split_name
from vesalius.sources.layouts.files import Refused, header, inside, is_image, rows, stem_of, walk
from vesalius.sources.layouts.layout import CLASS, Column, Layout
from vesalius.sources.layouts.masks import binary_region
from vesalius.sources.layouts.tabular import read as read_table
from vesalius.sources.layouts.tabular import reason

#: Column names that people use, to the field they mean; the first that is there wins.
_NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        "file",
        "image",
        "filename",
        "file_name",
        "path",
        "image_path",
        "filepath",
        "img",
        "image_id",
        "image_name",
    ),
    "id": ("id", "case", "case_id"),
    "patient": ("patient", "patient_id", "subject", "subject_id", "patientid"),
    "split": ("split", "fold", "set", "subset"),
    "time": ("time", "date", "study_date"),
    "view": ("view", "view_position", "projection"),
    "modality": ("modality",),
    CLASS: ("class", "label", "diagnosis", "dx", "category"),
    "report:findings": ("findings", "report", "caption", "text"),
    "report:impression": ("impression",),
    "licence": ("licence", "license"),
    "attr:age": ("age", "patient_age", "age_approx"),
    "attr:sex": ("sex", "gender", "patient_sex", "patient_gender"),
}
_PARSE = {"attr:age": "age", "attr:sex": "sex", "view": "view"}
_STATUS = frozenset({"", "1", "0", "-1", "1.0", "0.0", "-1.0"})
_SNIFF = 2000


def read_folder_per_class(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Images whose folder is their class; a `train`, `val` or `test` folder above is their part."""
    found = False
    for path in walk(folder):
        parts = path.relative_to(folder).parts
        if len(parts) < 2 or parts[-1].startswith("."):
            continue
        if not is_image(path.name):
            refused.append((path.relative_to(folder).as_posix(), "it is not an image"))
            continue
        try:
            inside(folder, path.relative_to(folder).as_posix())
        except VesaliusError as error:
            refused.append((path.relative_to(folder).as_posix(), reason(error)))
            continue
        found = True
        above = parts[:-1]
        split = split_name(above[0]) if len(above) > 1 else ""
        named = "/".join(above[1:] if split else above)
        key = "/".join((*above, stem_of(path.name)))
        yield Case(
            id=f"{layout.name}/{key}",
            images=(image_of(layout, path),),
            labels={CLASS: Label(named)},
            source=source_of(layout, key, split),
        )
    if not found:
        raise MissingError("cannot read folder", item=str(folder), why="no folder below it holds images")


def read_busi(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """`CLASS/CLASS (N).png` with `CLASS (N)_mask.png`, `_mask_1.png` ...; the masks of normal images are empty."""
    files = [p for p in walk(folder) if p.parent.name in {"benign", "malignant", "normal"} and p.suffix == ".png"]
    masks: dict[Path, list[Path]] = {}
    for path in files:
        if match := re.fullmatch(r"(.+)_mask(?:_\d+)?\.png", path.name):
            masks.setdefault(path.with_name(f"{match[1]}.png"), []).append(path)
    images = [p for p in files if not re.search(r"_mask(?:_\d+)?\.png$", p.name)]
    if not images:
        raise MissingError("cannot read folder", item=str(folder), why="there is no benign, malignant or normal folder")
    for path in images:
        named = path.parent.name
        regions = []
        for mask in masks.pop(path, []):
            try:
                inside(folder, mask.relative_to(folder).as_posix())
                region = binary_region(mask, f"{named} lesion", granularity=layout.granularity)
            except VesaliusError as error:
                refused.append((mask.relative_to(folder).as_posix(), reason(error)))
                continue
            if getattr(region.geometry, "area", 0):
                regions.append(region)
        key = stem_of(path.name)
        yield Case(
            id=f"{layout.name}/{key}",
            images=(image_of(layout, path),),
            regions=tuple(regions),
            labels={CLASS: Label(named)},
            source=source_of(layout, key),
        )
    for path, left in masks.items():
        refused += [(m.name, f"there is no image {path.name}") for m in left]


def read_csv_images(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Any table with a column of images: known column names are understood, `label:NAME` columns are labels.

    Columns of other names become labels when they hold nothing but 1, 0, -1 and blanks, else attributes.
    """
    tables = [f for f in pick(folder, "*.csv") if _column(header(f), _NAMES["image"])]
    if not tables:
        raise MissingError("cannot read folder", item=str(folder), why="no table has a column that names images")
    for file in tables:
        described = replace(layout, table=file.name, columns=describe(file), suffixes=(".png", ".jpg", ".jpeg", ".dcm"))
        for case in read_table(described, folder, refused):
            # A part that is named by the table's own name holds for all its rows.
            part = case.source.split or split_name(stem_of(file.name))
            yield case.replace(source=replace(case.source, split=part))


def describe(file: Path) -> dict[str, Column]:
    """What the columns of a table mean, from their names and their first rows."""
    names = header(file)
    columns: dict[str, Column] = {}
    for to, known in _NAMES.items():
        if (column := _column(names, known)) is not None:
            columns[column] = Column(to, _PARSE.get(to, "text"))  # type: ignore[arg-type] # literals of `_PARSE`
    rest = [n for n in names if n and n not in columns]
    statuses = set(rest)
    for count, (_, row) in enumerate(rows(file, [])):
        statuses -= {n for n in statuses if row[n] not in _STATUS}
        if count >= _SNIFF or not statuses:
            break
    for name in rest:
        kind, _, detail = name.partition(":")
        if kind in {"label", "attr"} and detail:
            how = "status" if name in statuses and kind == "label" else "text"
            columns[name] = Column(f"{kind}:{detail}", how)  # type: ignore[arg-type] # one of two literals
        elif name in statuses:
            columns[name] = Column(f"label:{name}", "status")
        else:
            columns[name] = Column(f"attr:{name}")
    return columns


def _column(names: Sequence[str], known: Sequence[str]) -> str | None:
    lower = {n.lower(): n for n in reversed(names)}
    return next((lower[k] for k in known if k in lower), None)
