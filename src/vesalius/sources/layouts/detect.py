"""Which layout a folder is in, judged by file names, headers and the beginnings of files."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vesalius.errors import MissingError, VesaliusError
from vesalius.sources.layouts.catalogue import layouts
from vesalius.sources.layouts.files import header, inside, is_image, rows
from vesalius.sources.layouts.layout import Layout, Rule

#: The layout of any table that names images, and how sure one is of it by its header alone.
_GENERAL, _GUESS = "csv-images", 0.6
#: Bytes of a JSON or XML file that are looked at.
_HEAD = 1 << 18
#: Files that are tried for one glob, and folders that are walked for pictures.
_TRIES = 20
_FILES = 5000
#: Rows of a table whose values are looked at.
_ROWS = 5000
#: Folder names that say what files are, not which class they show.
_NOT_CLASSES = frozenset({"images", "masks", "labels", "annotations", "img", "imgs", "mask", "segmentations"})


@dataclass(frozen=True, slots=True)
class Detection:
    """One layout that a folder may be in.

    Args:
        name: The layout.
        confidence: In [0, 1].
        saw: What spoke for it, in words.
    """

    name: str
    confidence: float
    saw: str


def detect(folder: str | os.PathLike[str]) -> list[Detection]:
    """All layouts that fit a folder, the most likely first; empty when none does.

    Raises:
        MissingError: The folder is not there.
    """
    path = Path(folder)
    if not path.is_dir():
        raise MissingError("folder is not there", item=str(path))
    found = [d for layout in layouts() if (d := _fit(layout, path))]
    # Any table of images looks like the general one: where a layout of its own fits, that is what it is.
    own = max((d.confidence for d in found if d.name != _GENERAL), default=0.0)
    if own > _GUESS:
        found = [replace(d, confidence=min(d.confidence, _GUESS)) if d.name == _GENERAL else d for d in found]
    return sorted(found, key=lambda d: -d.confidence)


def _fit(layout: Layout, folder: Path) -> Detection | None:
    best: Detection | None = None
    for sign in layout.signs:
        if best is not None and best.confidence >= sign.confidence:
            continue
        saw = []
        for rule in sign.rules:
            seen = _CHECKS[rule.kind](rule, folder)
            if seen is None:
                break
            saw.append(seen)
        else:
            best = Detection(layout.name, sign.confidence, ", ".join(saw))
    return best


def _files(rule: Rule, folder: Path) -> Iterator[Path]:
    found = (p for p in folder.glob(rule.glob) if p.is_file() and not p.name.startswith("."))
    yield from sorted(islice(found, _TRIES))


def _path(rule: Rule, folder: Path) -> str | None:
    first = next(iter(folder.glob(rule.glob)), None)
    return None if first is None else first.relative_to(folder).as_posix()


def _columns(rule: Rule, folder: Path) -> str | None:
    for file in _files(rule, folder):
        if {n.lower() for n in rule.names} <= {n.lower() for n in header(file)}:
            return f"{file.name} with the columns {', '.join(rule.names)}"
    return None


def _values(rule: Rule, folder: Path) -> str | None:
    """A column that names nothing but what it is known to name, and more than one of it where there is more."""
    column, *known = rule.names
    for file in _files(rule, folder):
        if column not in header(file):
            continue
        found = {row[column] for _, row in islice(rows(file, []), _ROWS)}
        if found <= set(known) and len(found) >= min(2, len(known)):
            return f"{file.name} whose {column} names {', '.join(sorted(found)[:3])}" + (
                " ..." if len(found) > 3 else ""
            )
    return None


def _json(rule: Rule, folder: Path) -> str | None:
    for file in _files(rule, folder):
        if all(re.search(rf'"{re.escape(name)}"\s*[:,]', _head(file)) for name in rule.names):
            return f"{file.relative_to(folder).as_posix()} with the keys {', '.join(rule.names)}"
    return None


def _head(file: Path) -> str:
    """The beginning and the end of a file: long lists stand between the keys of some formats."""
    if file.name.endswith(".gz"):
        try:
            with gzip.open(file, "rb") as packed:
                return packed.read(_HEAD).decode("utf-8", errors="replace")
        except (OSError, EOFError, zlib.error):
            return ""
    with file.open("rb") as data:
        start = data.read(_HEAD)
        size = file.stat().st_size
        if size > _HEAD:
            data.seek(max(_HEAD, size - _HEAD))
            start += b"\n" + data.read(_HEAD)
    return start.decode("utf-8", errors="replace")


def _npz(rule: Rule, folder: Path) -> str | None:
    for file in _files(rule, folder):
        try:
            with zipfile.ZipFile(file) as archive:
                members = set(archive.namelist())
        except (zipfile.BadZipFile, OSError, NotImplementedError):
            continue
        if set(rule.names) <= members:
            return f"{file.name} with the arrays {', '.join(n.removesuffix('.npy') for n in rule.names)}"
    return None


def _xml(rule: Rule, folder: Path) -> str | None:
    for file in _files(rule, folder):
        root = re.search(r"<([A-Za-z_][\w.-]*)", re.sub(r"<\?.*?\?>|<!--.*?-->", "", _head(file), flags=re.DOTALL))
        if root and root[1] in rule.names:
            return f"{file.relative_to(folder).as_posix()} with the root <{root[1]}>"
    return None


def _class_folders(rule: Rule, folder: Path) -> str | None:
    """Two folders at least that hold images (and little else), at one depth, and no image beside them."""
    counts: Counter[str] = Counter()
    folder = folder / rule.glob
    images = others = loose = 0
    for where, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        if images + others > _FILES:
            break
        for name in names:
            if not is_image(name):
                others += 1
            elif Path(where) == folder:
                loose += 1
            else:
                images += 1
                counts[Path(where).relative_to(folder).as_posix()] += 1
    classes = {place.rpartition("/")[2].lower() for place in counts}
    if len(counts) < 2 or classes & _NOT_CLASSES or loose or others > max(2, 0.05 * images):
        return None
    listed = ", ".join(sorted(counts)[:4]) + (" ..." if len(counts) > 4 else "")
    return f"{len(counts)} folders of images: {listed}"


def _named_files(rule: Rule, folder: Path) -> str | None:
    """A column whose cells name files that are there: a table somebody wrote for these images."""
    for file in _files(rule, folder):
        named = next((h for n in rule.names for h in header(file) if h.lower() == n), None)
        if named is None:
            continue
        cells = [row[named] for _, row in islice(rows(file, []), _TRIES)]
        there = sum(_is_there(folder, cell) for cell in cells)
        if there and 2 * there >= len(cells):
            return f"{file.name} whose {named} names files that are there"
    return None


def _is_there(folder: Path, name: str) -> bool:
    try:
        return is_image(inside(folder, name).name)
    except VesaliusError:
        return False


_CHECKS: dict[str, Callable[[Rule, Path], str | None]] = {
    "path": _path,
    "columns": _columns,
    "values": _values,
    "json": _json,
    "npz": _npz,
    "xml": _xml,
    "class_folders": _class_folders,
    "named_files": _named_files,
}
