"""What a case set holds, as a result; shared by the actions that make or describe one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.job import Job
from vesalius.verbs.frame import Result, verb
from vesalius.verbs.frame.results import hidden
from vesalius.verbs.frame.shared import FromCases

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Described(Result):
    """Counts of cases, patients, modalities, labels."""

    cases: int
    patients: int
    images: int
    regions: int
    questions: int
    reports: int
    with_prior: int
    modality: Counts
    kind: Counts
    labels: Mapping[str, Counts]
    written: Path | None = None
    first: str = hidden(default="")

    def lines(self) -> Iterator[str]:
        """What was done, then the counts."""
        if self.first:
            yield self.first
        keys = ("cases", "patients", "images", "regions", "questions", "reports", "with_prior")
        yield "  ".join(f"{k.replace('_', ' ')} {getattr(self, k)}" for k in keys)
        for key in ("modality", "kind"):
            yield f"{key}: {', '.join(f'{k} {v}' for k, v in getattr(self, key).items())}"
        for name, values in self.labels.items():
            yield f"  {name}: {', '.join(f'{k} {v}' for k, v in values.items())}"


def described(stats: Mapping[str, Any], written: Path | None = None, first: str = "") -> Described:
    """From what `CaseSet.stats` counts."""
    return Described(**stats, written=written, first=first)


@dataclass(frozen=True)
class Stats(FromCases):
    """What to count."""


@verb("data stats", "data", uses=("workers",), reads_only=True, long=True)
def stats(args: Stats, job: Job) -> Described:
    """Counts of cases, patients, modalities, labels."""
    from vesalius.sources.opening import open_cases

    return described(open_cases(args.source, job, layout=args.layout, limit=args.limit).stats())
