"""`index`: put images into a searchable library, and look after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import ExitCode, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.arguments import Cases
from vesalius.verbs.frame.results import hidden
from vesalius.verbs.frame.shared import WithModel

if TYPE_CHECKING:
    from vesalius.library import Library


@dataclass(frozen=True)
class Index(WithModel):
    """What to add, and what else to do with the library."""

    source: tuple[Cases, ...] = arg("files, folders, case sets or data sets to add", (), positional=True)
    library: Path = arg("the library's folder (made if it is not there)", metavar="DIR")
    layout: str = arg("layout of SOURCE (default: found out; `files` for plain files)", "", metavar="NAME")
    check: bool = arg("examine the library: files, digests, references", False)
    stats: bool = arg("say what the library holds", False)
    compact: bool = arg("give back the space of deleted cases", False)
    duplicates: float | None = arg("groups of images at least this alike", None, metavar="COSINE", low=-1, high=1)
    delete: tuple[str, ...] = arg("erase a case", (), metavar="ID")
    limit: int | None = arg("use the first N cases only", None, metavar="N", low=1)
    dry_run: bool = arg("say what would be done, and do nothing", False)


@dataclass(frozen=True)
class Added(Result):
    """What one source added."""

    source: str
    added: int
    skipped: int
    updated: int
    images: int
    seconds: float
    refused: tuple[tuple[str, str], ...]

    def lines(self) -> Iterator[str]:
        """One."""
        yield (
            f"{self.source}: {self.added} cases added ({self.images} images), {self.updated} updated, "
            f"{self.skipped} there already, {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Indexed(Result):
    """What was done; what was not asked for is not there."""

    library: str
    images: int | None = None
    would_add: tuple[Mapping[str, Any], ...] | None = None
    added: tuple[Added, ...] | None = None
    deleted: int | None = None
    freed_bytes: int | None = None
    duplicates: tuple[Mapping[str, Any], ...] | None = None
    stats: Mapping[str, Any] | None = None
    check: Mapping[str, Any] | None = None
    threshold: float = hidden(default=0.0)

    def lines(self) -> Iterator[str]:
        """In the order in which it was done."""
        for counts in self.would_add or ():
            yield f"{counts['source']}: {counts['cases']} cases, {counts['images']} images, {counts['modality']}"
        for added in self.added or ():
            yield from added.lines()
        if self.deleted is not None:
            yield f"{self.deleted} case(s) erased"
        if self.freed_bytes is not None:
            yield f"{self.freed_bytes} bytes given back"
        yield from self._about_duplicates()
        for key, value in (self.stats or {}).items():
            yield f"{key}: {value}"
        if self.check is not None:
            yield f"library is {'sound' if self.check['ok'] else 'damaged'}: {self.check['counts']}"
            for problem in self.check["problems"]:
                yield f"  {problem['kind']} [{problem['item']}]: {problem['why']}"
        if self.images is not None:
            yield f"library {self.library}: {self.images} images"

    def _about_duplicates(self) -> Iterator[str]:
        if self.duplicates is None:
            return
        yield f"{len(self.duplicates)} group(s) of near-duplicates at cosine >= {self.threshold:g}"
        for group in self.duplicates:
            items = group["items"]
            same = "same pixels" if group["same_pixels"] else f"cosine >= {group['similarity']:.4f}"
            names = ", ".join(id for id, _ in items[:6]) + (" ..." if len(items) > 6 else "")
            yield f"  {len(items)} images, {len(group['patients'])} patient(s), {same}: {names}"

    @property
    def exit_code(self) -> ExitCode:
        """1 where the library is damaged."""
        return ExitCode.OK if self.check is None or self.check["ok"] else ExitCode.FAULT


@verb(
    "index", "data", uses=("device", "workers", "batch_size", "online"), long=True,
    exits={ExitCode.FAULT: "--check found the library damaged"},
)  # fmt: skip
def index(args: Index, job: Job) -> Indexed:
    """Put images into a searchable library."""
    from vesalius.library import Library
    from vesalius.models import load
    from vesalius.sources.opening import open_cases

    chores = (args.check, args.stats, args.compact, args.duplicates is not None, bool(args.delete))
    if not args.source and not any(chores):
        raise UsageError(
            "nothing to do", fix="name what to add, or use --check, --stats, --compact, --duplicates, --delete"
        )
    sets = [open_cases(source, job, layout=args.layout, limit=args.limit) for source in args.source]
    names = [str(s) if isinstance(s, Path) else "cases" for s in args.source]
    if args.dry_run:
        counts = tuple({"source": n, **cases.stats()} for n, cases in zip(names, sets, strict=True))
        return Indexed(str(args.library), would_add=counts)
    model = args.model
    if isinstance(model, str):
        model = load(model, device=job.device, online=job.online, can="embed") if args.source else None
    added = []
    with Library.open(args.library, model, create=bool(args.source)) as library:
        for name, cases in zip(names, sets, strict=True):
            report = library.add(cases, job)
            added.append(Added(name, report.added, report.skipped, report.updated, report.images, report.seconds,
                               report.refused))  # fmt: skip
        done = _chores(args, library)
        job.facts["library"] = {"images": len(library), "model": library.store.identity.model}
        return Indexed(str(args.library), len(library), added=tuple(added) or None, **done)


def _chores(args: Index, library: Library) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if args.delete:
        out["deleted"] = library.delete(args.delete)
    if args.compact:
        out["freed_bytes"] = library.compact()
    if args.duplicates is not None:
        out["threshold"] = args.duplicates
        out["duplicates"] = tuple(g.to_dict() for g in library.near_duplicates(args.duplicates))
    if args.stats:
        out["stats"] = library.stats()
    if args.check:
        out["check"] = library.check().to_dict()
    return out
