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
    from vesalius.systems.frame.recipe import System

#: Name of a system that works to its module in this room: an allow-list, so that a name cannot choose code.
MODULES: dict[str, str] = {
    "3mt": "classify.three_mt",
    "biomedcoop": "classify.biomedcoop",
    "cbm-robust": "classify.cbm_robust",
    "imis-bench": "segment.imis",
    "mask-of-truth": "evaluate.mask_of_truth",
    "medimageinsight": "represent.medimageinsight",
    "medmnistc": "evaluate.medmnistc",
    "medrpg-taco": "ground.medrpg",
    "medvitv2": "classify.medvitv2",
    "ptunifier": "represent.ptunifier",
}


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
    """

    number: int
    name: str
    title: str
    year: int
    capabilities: tuple[str, ...]
    job: str
    link: str

    @property
    def works(self) -> bool:
        """Whether it can be trained and checked here."""
        return self.name in MODULES

    def to_dict(self) -> dict[str, Any]:
        """Plain data for listings."""
        return {**vars(self), "capabilities": list(self.capabilities), "works": self.works}


@cache
def catalogue() -> tuple[Entry, ...]:
    """Every system, by number."""
    rows = json.loads(Path(__file__).with_name("catalogue.json").read_text("utf-8"))
    return tuple(Entry(**{**row, "capabilities": tuple(row["capabilities"])}) for row in rows)


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
    """The recipe of a system that works here; imports its module.

    Raises:
        MissingError: There is no such system, or it does not work here yet.
    """
    entry = find(name)
    if not entry.works:
        raise MissingError(
            "this system does not work here yet",
            item=entry.name,
            why=f"those that do: {', '.join(sorted(MODULES)) or 'none'}",
            fix="see `vesalius systems`",
        )
    module = importlib.import_module(f"vesalius.systems.{MODULES[entry.name]}")
    system: System = module.SYSTEM
    return system
