"""How a path on the command line becomes cases: a case set, a data set in a known layout, or a folder of scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from vesalius.cases import CaseSet
from vesalius.cases.caseset import CASES_FILE
from vesalius.cli.common import Run
from vesalius.errors import MissingError

#: A folder is read as a known layout without being told only when detection is at least this sure.
SURE = 0.9


def open_cases(path: Path, options: argparse.Namespace, run: Run, *, layout: str = "") -> CaseSet:
    """Open whatever the path holds; what cannot be read is named and the rest goes on.

    Args:
        path: File or folder.
        options: For `--workers` and `--limit`.
        run: Where refusals go.
        layout: A layout's name, `files` to read plain files whatever they look like, or "" to find out.

    Raises:
        MissingError: There is nothing at the path.
    """
    if not path.exists():
        raise MissingError("no such file or folder", item=str(path))
    limit = getattr(options, "limit", None)
    if (path / CASES_FILE).is_file() or path.suffix == ".jsonl":
        return CaseSet.read(path).limit(limit)
    if path.is_dir() and layout != "files":
        from vesalius.sources.layouts.detect import detect
        from vesalius.sources.layouts.registry import import_folder

        name, saw = layout, "as asked"
        if not name:
            found = detect(path)
            if found and found[0].confidence >= SURE:
                name, saw = found[0].name, f"saw {found[0].saw}"
            elif found:
                run.note(
                    f"{path}: could be {found[0].name} ({found[0].saw}); read as plain files, --layout says otherwise"
                )
        if name:
            cases = import_folder(path, name)
            run.note(f"{path}: read as {name} ({saw})")
            run.facts["layout"], run.facts["layout_seen"] = name, saw
            cases.load()
            for item, why in cases.refused:
                run.refuse(item, why)
            return cases.limit(limit)
    from vesalius.io import read

    cases = read(path, workers=getattr(options, "workers", None), on_refused=run.refuse)
    return cases.limit(limit)
