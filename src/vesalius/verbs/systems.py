"""The published systems, and what their checks found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.results import table


@dataclass(frozen=True)
class ListSystems(Args):
    """Which systems."""

    capability: str | None = arg("only systems that serve this verb, such as ground", None, metavar="VERB")
    working: bool = arg("only systems that work here", False)


@dataclass(frozen=True)
class System(Result):
    """One published system, and how many of its claims held."""

    number: int
    name: str
    title: str
    year: int
    capabilities: tuple[str, ...]
    works: bool
    claims: int
    hold: int
    job: str = ""
    link: str = ""
    claim: str | None = None
    results: tuple[Mapping[str, Any], ...] | None = None

    def lines(self) -> Iterator[str]:
        """Everything about it."""
        yield f"{self.number:02d} {self.title} ({self.year})"
        yield f"  {self.job}"
        yield f"  name {self.name} · serves {', '.join(self.capabilities)} · {self.link}"
        if self.claim is None:
            yield "  does not work here yet"
            return
        yield f"  claim: {self.claim}"
        for v in self.results or ():
            yield (
                f"  {v['outcome']} on {v['data']} ({v['seeds']} seeds, n = {v['n']}): "
                f"{v['claim']}: {v['ours']:.3f} against {v['baseline']:.3f}, margin {v['margin']:+.3f} "
                f"[{v['low']:+.3f}, {v['high']:+.3f}], goal {v['goal']:+.3f}"
            )


@dataclass(frozen=True)
class Systems(Result):
    """The published systems."""

    systems: tuple[System, ...]

    def lines(self) -> Iterator[str]:
        """A table."""
        rows = []
        for s in self.systems:
            held = f"{s.hold} of {s.claims} claims hold" if s.claims else "no result stored"
            rows.append((f"{s.number:02d}", s.name, s.year, ", ".join(s.capabilities), held if s.works else "not yet"))
        yield from table(rows, ("no", "name", "year", "serves", "here"))


@verb("systems list", "examine", reads_only=True, default=True)
def list_systems(args: ListSystems, job: Job) -> Systems:
    """The published systems and what their checks found."""
    from vesalius.systems.frame.catalogue import catalogue

    found = _verdicts()
    return Systems(
        tuple(
            _system(e, found)
            for e in catalogue()
            if (e.works or not args.working) and (not args.capability or args.capability in e.capabilities)
        )
    )


@dataclass(frozen=True)
class ShowSystem(Args):
    """Which system."""

    name: str = arg("name or number of a system", positional=True)


@verb("systems show", "examine", reads_only=True)
def show(args: ShowSystem, job: Job) -> System:
    """One published system: its claim, and how each check of it came out."""
    from vesalius.systems.frame.catalogue import find, open_system

    entry = find(args.name)
    found = _verdicts()
    rows = tuple(vars(v) | {"holds": v.holds, "outcome": v.outcome} for v in found if v.system == entry.name)
    claim = open_system(entry.name).claim if entry.works else None
    return _system(entry, found, claim=claim, results=rows)


def _verdicts() -> list[Any]:
    from vesalius.systems.frame.results import read_results, results_file
    from vesalius.systems.frame.verdict import verdicts

    file = results_file()
    return verdicts(read_results(file)) if file is not None else []


def _system(entry: Any, found: list[Any], **more: Any) -> System:
    mine = [v for v in found if v.system == entry.name]
    return System(
        entry.number, entry.name, entry.title, entry.year, tuple(entry.capabilities), entry.works, len(mine),
        sum(v.holds for v in mine), entry.job, entry.link, **more,
    )  # fmt: skip
