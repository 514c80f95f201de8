"""`data validate`, `split`, `convert` and `layouts`: what is done with a case set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import ExitCode, UsageError
from vesalius.job import Job
from vesalius.verbs.data.described import Described, described
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.arguments import Cases
from vesalius.verbs.frame.results import hidden, table
from vesalius.verbs.frame.shared import FromCases

if TYPE_CHECKING:
    from vesalius.cases import Case


@dataclass(frozen=True)
class Validate(Args):
    """What to look at, and how closely."""

    source: Path | None = arg("folder of a case set", None, positional=True)
    pixels: bool = arg("also read every image", False)
    schema: bool = arg("print the JSON schema of a case and stop", False)
    limit: int | None = arg("use the first N cases only", None, metavar="N", low=1)


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    case: str
    severity: str
    what: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.case}: {self.what}"

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Validated(Result):
    """What is wrong, or the schema of a case."""

    faults: tuple[Fault, ...] | None = None
    schema: Mapping[str, Any] | None = None

    def lines(self) -> Iterator[str]:
        """One a fault."""
        if self.schema is not None:
            import json

            yield json.dumps(self.schema, indent=1)
            return
        faults = self.faults or ()
        yield from map(str, faults)
        errors = sum(f.severity == "error" for f in faults)
        yield f"{errors} error(s), {len(faults) - errors} warning(s)"

    @property
    def exit_code(self) -> ExitCode:
        """3 where there is an error."""
        return ExitCode.BAD_INPUT if any(f.severity == "error" for f in self.faults or ()) else ExitCode.OK


@verb("data validate", "data", reads_only=True, long=True)
def validate(args: Validate, job: Job) -> Validated:
    """What is wrong with a case set."""
    from vesalius.cases import CaseSet
    from vesalius.cases.validate import schema
    from vesalius.cases.validate import validate as faults

    if args.schema:
        return Validated(schema=schema())
    if args.source is None:
        raise UsageError("validate what?", fix="name the folder of a case set, or give --schema")
    cases = CaseSet.read(args.source).limit(args.limit)
    found = job.progress(faults(cases, pixels=args.pixels), what="looking")
    return Validated(tuple(Fault(f.case, f.severity, f.what) for f in found))


@dataclass(frozen=True)
class Split(FromCases):
    """What to divide, and how."""

    source: Cases = arg("a case set or a data set", positional=True)
    to: Path = arg("folder for the parts, one case set each", metavar="DIR")
    parts: str = arg("names and shares", "train=0.7,val=0.1,test=0.2", metavar="LIST")
    stratify: str | None = arg("label to spread evenly", None, metavar="NAME")
    dry_run: bool = arg("say what would be done, and do nothing", False)


@dataclass(frozen=True)
class Divided(Result):
    """Counts of each part."""

    parts: Mapping[str, Described]
    stratify: str | None = hidden(default=None)

    def lines(self) -> Iterator[str]:
        """One a part."""
        for name, part in self.parts.items():
            yield f"{name}: {part.cases} cases of {part.patients} patients"
            if self.stratify and self.stratify in part.labels:
                yield f"  {self.stratify}: {dict(part.labels[self.stratify])}"


@verb("data split", "data", uses=("seed", "workers"), long=True)
def split(args: Split, job: Job) -> Divided:
    """Divide a case set by patient."""
    from vesalius.sources.opening import open_cases

    shares = _shares(args.parts)
    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    divided = cases.split(shares, seed=job.seed, stratify=args.stratify)
    out = {name: described(part.stats()) for name, part in divided.items()}
    for name, part in divided.items():
        if not args.dry_run and out[name].cases:
            part.map(partial(_in_split, name)).write(args.to / name, copy_images=False)
    return Divided(out, args.stratify)


def _shares(text: str) -> dict[str, float]:
    """`train=0.7,test=0.3` as a table.

    Raises:
        UsageError: It is not of that form.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            shares[name.strip()] = float(share)
        except ValueError:
            raise UsageError("cannot read --parts", item=part, fix="write train=0.7,val=0.1,test=0.2") from None
        if not name.strip().replace("-", "").replace("_", "").isalnum():
            raise UsageError("not a name for a part", item=name)
    return shares


def _in_split(name: str, case: Case) -> Case:
    import dataclasses

    return case.replace(source=dataclasses.replace(case.source, split=name))


@dataclass(frozen=True)
class Convert(FromCases):
    """What to write, in which layout."""

    source: Cases = arg("a case set or a data set", positional=True)
    to: Path = arg("folder of the result", metavar="DIR")
    written_as: str = arg("layout to write; see `data layouts`", flag="--as", metavar="NAME")
    label: str | None = arg("which label is the class (folder-per-class, medmnist)", None, metavar="NAME")


@dataclass(frozen=True)
class Converted(Result):
    """What was written, and what the layout has no room for: (what, why, count)."""

    layout: str
    written: int
    lost: tuple[tuple[str, str, int], ...]
    to: str

    def lines(self) -> Iterator[str]:
        """What was written, then what was not."""
        yield f"{self.written} cases written as {self.layout} to {self.to}"
        for what, why, count in self.lost:
            yield f"  left out: {what} ({count}): {why}"


@verb("data convert", "data", uses=("workers",), long=True)
def convert(args: Convert, job: Job) -> Converted:
    """Write a case set in a public layout."""
    from vesalius.sources.layouts.convert import convert as write
    from vesalius.sources.opening import open_cases

    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    extra = {"label": args.label} if args.label else {}
    report = write(cases, args.written_as, args.to, **extra)
    for item, why in report.refused:
        job.refuse(item, why)
    lost = tuple((what, why, count) for what, why, count in report.lost)
    return Converted(args.written_as, report.written, lost, str(args.to))


@dataclass(frozen=True)
class Layouts(Args):
    """Nothing."""


@dataclass(frozen=True)
class Layout:
    """One layout."""

    name: str
    title: str
    written: bool
    url: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Known(Result):
    """The layouts."""

    layouts: tuple[Layout, ...]

    def lines(self) -> Iterator[str]:
        """A table."""
        rows = [(i.name, "read, write" if i.written else "read", i.title) for i in self.layouts]
        yield from table(rows, ("layout", "can be", "what"))


@verb("data layouts", "data", reads_only=True)
def layouts(args: Layouts, job: Job) -> Known:
    """The layouts that can be read and written."""
    from vesalius.sources.layouts.registry import layouts as known

    return Known(tuple(Layout(i.name, i.title, bool(i.writer), i.url) for i in known()))
