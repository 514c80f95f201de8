"""The seventy-seven published systems: what each is, and which of them work here. Nothing heavy is imported."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import MissingError

if TYPE_CHECKING:
    from vesalius.systems.frame.recipe import Recipe, System

ROOM = "vesalius.systems"


@dataclass(frozen=True)
class Entry:
    """One published system.

    Args:
        number: Its number here.
        name: What `vesalius train NAME` and `check NAME` take.
        title: The name its authors gave it.
        year: Year of the first publication.
        capabilities: Verbs that it serves, the main one first.
        job: What it does, in one line.
        link: Its repository, or the paper where there is none.
        module: Its module in this room, such as `classify.three_mt.recipe`; "" where it does not work here yet. The
            list is an allow-list: a name cannot choose code.
    """

    number: int
    name: str
    title: str
    year: int
    capabilities: tuple[str, ...]
    job: str
    link: str
    module: str = ""

    @property
    def works(self) -> bool:
        """Whether it can be checked here."""
        return bool(self.module)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for listings."""
        return {**vars(self), "capabilities": list(self.capabilities), "works": self.works}


@cache
def catalogue() -> tuple[Entry, ...]:
    """Every system, by number."""
    rows = json.loads(Path(__file__).with_name("catalogue.json").read_text("utf-8"))
    return tuple(Entry(**{**row, "capabilities": tuple(row["capabilities"])}) for row in rows)


def working() -> tuple[Entry, ...]:
    """The systems that work here, by number."""
    return tuple(e for e in catalogue() if e.works)


def find(name: str) -> Entry:
    """The system with this name or number.

    Raises:
        MissingError: There is none; the message names what is nearest.
    """
    for entry in catalogue():
        if name in (entry.name, str(entry.number), f"{entry.number:02d}"):
            return entry
    near = get_close_matches(name, [e.name for e in catalogue()], n=1)
    fix = f"did you mean {near[0]}?" if near else "see `vesalius systems`"
    raise MissingError("no such system", item=name, fix=fix)


def open_system(name: str) -> System:
    """A system that works here; imports its module, in which it registered itself.

    Raises:
        MissingError: There is no such system, or it does not work here yet.
    """
    from vesalius.systems.frame.recipe import REGISTERED

    entry = find(name)
    if not entry.works:
        raise MissingError(
            "this system does not work here yet",
            item=entry.name,
            why=f"those that do: {', '.join(sorted(e.name for e in working())) or 'none'}",
            fix="see `vesalius systems`",
        )
    importlib.import_module(f"{ROOM}.{entry.module}")
    return REGISTERED[entry.name]


def open_recipe(name: str) -> Recipe:
    """A system that can be trained.

    Raises:
        MissingError: There is no such system, it does not work here yet, or it only evaluates.
    """
    from vesalius.systems.frame.recipe import Recipe

    system = open_system(name)
    if not isinstance(system, Recipe):
        raise MissingError(
            "this system trains nothing", item=system.name, why="it is a way to evaluate models",
            fix=f"run `vesalius check {system.name}`",
        )  # fmt: skip
    return system
