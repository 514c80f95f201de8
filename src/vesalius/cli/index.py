"""`vesalius index SRC --library DIR`: put images into a searchable library, and look after it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from vesalius.cases import CaseSet
from vesalius.cli.common import Run, add_flags
from vesalius.errors import ExitCode, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("source", type=Path, nargs="*", help="files, folders, case sets or data sets to add")
    parser.add_argument("--library", type=Path, required=True, help="the library's folder (made if it is not there)")
    parser.add_argument("--layout", default="", help="layout of SRC (default: found out; `files` for plain files)")
    parser.add_argument("--check", action="store_true", help="examine the library: files, digests, references")
    parser.add_argument("--stats", action="store_true", help="what the library holds")
    parser.add_argument("--compact", action="store_true", help="give back the space of deleted cases")
    parser.add_argument("--duplicates", type=float, metavar="COSINE", help="groups of images at least this alike")
    parser.add_argument("--delete", metavar="ID", action="append", default=[], help="erase a case (may be repeated)")
    add_flags(
        parser, "--model", "--device", "--workers", "--batch-size", "--limit", "--resume", "--dry-run", "--online"
    )


def run(options: argparse.Namespace, run: Run) -> None:
    """Add, then whatever else was asked."""
    from vesalius.cli.sources import open_cases
    from vesalius.library import Library
    from vesalius.models import load

    chores = (options.check, options.stats, options.compact, options.duplicates is not None, bool(options.delete))
    if not options.source and not any(chores):
        raise UsageError(
            "nothing to do", fix="name what to add, or use --check, --stats, --compact, --duplicates, --delete"
        )
    run.result = {}
    sets: list[CaseSet] = [open_cases(path, options, run, layout=options.layout) for path in options.source]
    if options.dry_run:
        counts = [cases.stats() for cases in sets]
        run.result["would_add"] = counts
        for path, count in zip(options.source, counts, strict=True):
            run.say(f"{path}: {count['cases']} cases, {count['images']} images, {count['modality']}")
        return
    model = load(options.model, device=options.device, online=run.online) if options.source else None
    with Library.open(options.library, model, create=bool(options.source)) as library:
        for path, cases in zip(options.source, sets, strict=True):
            workers = (os.cpu_count() or 1) if options.workers is None else options.workers
            report = library.add(
                cases,
                batch_size=options.batch_size,
                workers=workers,
                on_progress=lambda p: run.note(f"{p.added} added, {p.skipped} there already, {p.refused} refused"),
                on_refused=run.refuse,
            )
            run.result.setdefault("added", []).append({"source": str(path), **report.to_dict()})
            run.say(
                f"{path}: {report.added} cases added ({report.images} images), {report.updated} updated, "
                f"{report.skipped} there already, {report.seconds:.1f} s"
            )
        run.facts["library"] = {"images": len(library), "model": library.store.identity.model}
        if options.delete:
            run.result["deleted"] = library.delete(options.delete)
            run.say(f"{run.result['deleted']} case(s) erased")
        if options.compact:
            run.result["freed_bytes"] = library.compact()
            run.say(f"{run.result['freed_bytes']} bytes given back")
        if options.duplicates is not None:
            groups = library.near_duplicates(options.duplicates)
            run.result["duplicates"] = [g.to_dict() for g in groups]
            run.say(f"{len(groups)} group(s) of near-duplicates at cosine >= {options.duplicates:g}")
            for group in groups:
                same = "same pixels" if group.same_pixels else f"cosine >= {group.similarity:.4f}"
                names = ", ".join(id for id, _ in group.items[:6]) + (" ..." if len(group.items) > 6 else "")
                run.say(f"  {len(group.items)} images, {len(group.patients)} patient(s), {same}: {names}")
        if options.stats:
            run.result["stats"] = library.stats()
            for key, value in run.result["stats"].items():
                run.say(f"{key}: {value}")
        if options.check:
            checked = library.check()
            run.result["check"] = checked.to_dict()
            run.say(f"library is {'sound' if checked.ok else 'damaged'}: {dict(checked.counts)}")
            for problem in checked.problems:
                run.say(f"  {problem.kind} [{problem.item}]: {problem.why}")
            if not checked.ok:
                run.exit_code = ExitCode.FAULT
        run.say(f"library {options.library}: {len(library)} images")
