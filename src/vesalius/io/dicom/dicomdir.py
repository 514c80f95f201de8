"""The files a DICOMDIR lists. Its text is compared with the files that are there; it never becomes a path."""

from __future__ import annotations

import os
from pathlib import Path

from vesalius.errors import BadInputError, UnsafeInputError, VesaliusError
from vesalius.io.dicom.parse import load, quiet
from vesalius.io.formats.stream import open_regular
from vesalius.io.limits import Limits


def listed_files(path: Path, limits: Limits) -> tuple[list[Path], list[tuple[str, VesaliusError]]]:
    """Files that the records of a DICOMDIR name, in its order, and the entries that name none.

    Args:
        path: The DICOMDIR.
        limits: Budgets.

    Returns:
        Files below the DICOMDIR's folder, and (text of the entry, error) for those refused.

    Raises:
        BadInputError: It cannot be parsed or is not a DICOMDIR.
    """
    with quiet(), open_regular(path, path.name) as stream:
        ds, _ = load(stream, path.name, limits, pixels=False, tags=["DirectoryRecordSequence"])
        records = ds.get("DirectoryRecordSequence")
        if records is None:
            raise BadInputError("not a DICOMDIR", item=path.name, why="it holds no directory records")
        entries = []
        for record in records:
            value = record.get("ReferencedFileID")
            if value:
                entries.append(tuple(str(p) for p in ([value] if isinstance(value, str) else value)))
    there = _files_below(path.parent, limits)
    found: dict[Path, None] = {}
    faults: list[tuple[str, VesaliusError]] = []
    for parts in entries:
        item = repr("/".join(parts)[:120])
        if any(p in ("", ".", "..") or set(p) & set("/\\:\0") for p in parts):
            faults.append((item, UnsafeInputError("DICOMDIR names a file outside of its folder", item=item)))
        elif (file := there.get(tuple(p.casefold() for p in parts))) is None:
            faults.append((item, BadInputError("DICOMDIR names a file that is not there", item=item)))
        else:
            found[file] = None
    return list(found), faults


def _files_below(folder: Path, limits: Limits) -> dict[tuple[str, ...], Path]:
    out: dict[tuple[str, ...], Path] = {}
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(where) / name
            if not path.is_symlink():
                out.setdefault(tuple(p.casefold() for p in path.relative_to(folder).parts), path)
            if len(out) > limits.max_files:
                raise BadInputError("folder of the DICOMDIR holds too many files", item=str(folder))
    return out
