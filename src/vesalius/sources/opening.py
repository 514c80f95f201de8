"""How a path becomes cases: a case set, a data set in a known layout, or a folder of scans."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vesalius.cases import Case, CaseSet
from vesalius.cases.caseset import CASES_FILE
from vesalius.errors import MissingError
from vesalius.job import Job

#: A folder is read as a known layout without being told only when detection is at least this sure.
SURE = 0.9


def open_cases(source: Path | Iterable[Case], job: Job, *, layout: str = "", limit: int | None = None) -> CaseSet:
    """Open whatever the path holds; what cannot be read is refused and the rest goes on.

    Args:
        source: File or folder; cases at hand stay as they are.
        job: Its workers decode; refusals and notes go there.
        layout: A layout's name, `files` to read plain files whatever they look like, or "" to find out.
        limit: Use the first so many.

    Raises:
        MissingError: There is nothing at the path.
    """
    if isinstance(source, CaseSet):
        return source.limit(limit)
    if not isinstance(source, Path):
        return CaseSet(list(source)).limit(limit)
    if not source.exists():
        raise MissingError("no such file or folder", item=str(source))
    if (source / CASES_FILE).is_file() or source.suffix == ".jsonl":
        return CaseSet.read(source).limit(limit)
    if source.is_dir() and layout != "files":
        name = layout or _detected(source, job)
        if name:
            return _imported(source, name, job).limit(limit)
    from vesalius.io import read

    return read(source, job).limit(limit)


def _detected(source: Path, job: Job) -> str:
    """The layout that the folder surely has, or ""."""
    from vesalius.sources.layouts.detect import detect

    found = detect(source)
    if not found:
        return ""
    best = found[0]
    if best.confidence < SURE:
        job.note(f"{source}: could be {best.name} ({best.saw}); read as plain files, --layout says otherwise")
        return ""
    job.facts["layout_seen"] = f"saw {best.saw}"
    return best.name


def _imported(source: Path, name: str, job: Job) -> CaseSet:
    from vesalius.sources.layouts.registry import import_folder

    cases = import_folder(source, name)
    job.facts["layout"] = name
    job.note(f"{source}: read as {name} ({job.facts.setdefault('layout_seen', 'as asked')})")
    cases.load()
    for item, why in cases.refused:
        job.refuse(item, why)
    return cases
