"""`data import` and `data get`: scans and public data sets become case sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.verbs.data.described import Described, described
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.arguments import Cases
from vesalius.verbs.frame.shared import FromCases


@dataclass(frozen=True)
class Import(FromCases):
    """What to read, and where to."""

    source: Cases = arg("file, folder, DICOMDIR, archive or data set", positional=True)
    to: Path = arg("folder of the new case set", metavar="DIR")
    link: bool = arg("point at the files instead of copying their pixels", False)
    dry_run: bool = arg("say what would be done, and do nothing", False)


@verb("data import", "data", uses=("workers",), long=True)
def import_(args: Import, job: Job) -> Described:
    """Read scans or a public data set into a case set."""
    from vesalius.cases import CaseSet
    from vesalius.cases.caseset import CASES_FILE
    from vesalius.io.decode import decoded
    from vesalius.sources.opening import open_cases

    if (args.to / CASES_FILE).exists():
        raise UsageError("will not overwrite a case set", item=str(args.to), fix="choose another folder")
    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    if isinstance(args.source, Path) and args.source.is_dir() and "layout" not in job.facts:
        job.note(f"{args.source}: read as plain files, not as a data set; see `vesalius data layouts`")
    if args.dry_run:
        return described(cases.stats())
    if args.link:
        written = cases.write(args.to, copy_images=False)
    else:
        written = CaseSet(lambda: job.progress(decoded(cases, job), what="reading")).write(args.to)
    return described(written.stats(), args.to, f"case set written to {args.to}")


@dataclass(frozen=True)
class Get(Args):
    """Which archive, and where to."""

    name: str = arg("pathmnist, chestmnist, organmnist3d and the others", positional=True)
    to: Path = arg("folder for the archive; read it with `data import`", metavar="DIR")
    size: int = arg("edge: 28, 64, 128, 224, in 3-d 28, 64", 28, metavar="N", unit="pixels")
    dry_run: bool = arg("say what would be done, and do nothing", False)


@dataclass(frozen=True)
class Got(Result):
    """An archive, and the sum it must have."""

    file: str
    md5: str
    address: str | None = None

    def lines(self) -> Iterator[str]:
        """One."""
        if self.address is None:
            yield f"{self.file} is there, and its sum is right"
        else:
            yield f"would fetch {self.address} to {self.file}"


@verb("data get", "data", uses=("online",), long=True)
def get(args: Get, job: Job) -> Got:
    """Fetch a MedMNIST or MedMNIST+ archive (needs --online)."""
    from vesalius.sources.layouts import medmnist_get

    file = medmnist_get.file_name(args.name, args.size)
    md5 = medmnist_get.sums()[args.name][args.size]
    if args.dry_run:
        return Got(str(args.to / file), md5, f"{medmnist_get.RECORD}/{file}")
    return Got(str(medmnist_get.get(args.name, args.to, size=args.size, online=job.online)), md5)
