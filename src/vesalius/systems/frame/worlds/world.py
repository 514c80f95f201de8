"""What a world is: a seed or a folder becomes cases to train, choose and test on, apart by patient."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from vesalius.cases import Case, split
from vesalius.errors import BadInputError

Kind = Literal["phantom", "real"]
#: Fewest cases that a scaled-down world draws.
LEAST = 24
HALVES: Mapping[str, float] = {"train": 0.6, "test": 0.4}


@dataclass(frozen=True, eq=False)
class Parts:
    """Cases of a world, apart by patient.

    Args:
        train: What a system trains on.
        test: What it is tested on.
        validation: What it chooses on; empty where nothing is chosen.
        seed: Seed of further draws.
        extra: More cases by the name of the recipe's argument that takes them.
    """

    train: Sequence[Case] = ()
    test: Sequence[Case] = ()
    validation: Sequence[Case] = ()
    seed: int = 0
    extra: Mapping[str, Sequence[Case]] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, parts: Mapping[str, Sequence[Case]], seed: int) -> Parts:
        """Parts by their names."""
        return cls(parts.get("train", ()), parts.get("test", ()), parts.get("validation", ()), seed)

    @property
    def groups(self) -> list[str]:
        """Patient of each test case."""
        return [c.group for c in self.test]

    def rng(self, *what: int) -> np.random.Generator:
        """A generator for one purpose, named by numbers."""
        return np.random.default_rng((self.seed, *what))

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, kept: variants that are scored alike share it."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def parted(
    cases: Sequence[Case],
    shares: Mapping[str, float],
    seed: int,
    stratify: str | None = None,
    split_seed: int | None = None,
) -> Parts:
    """Parts of cases by patient, each class of a label spread evenly.

    Raises:
        BadInputError: A part that should hold cases holds none.
    """
    divided = split(list(cases), dict(shares), seed=seed if split_seed is None else split_seed, stratify=stratify)
    where = divided.part_of()
    found = {part: [c for c in cases if where[c.id] == part] for part in shares}
    if empty := [part for part, cs in found.items() if not cs]:
        raise BadInputError("no case is left", item=", ".join(empty), why=f"{len(cases)} cases in all")
    return Parts.of(found, seed)


class World(Protocol):
    """Where cases come from."""

    kind: ClassVar[Kind]

    @property
    def name(self) -> str:
        """What results call it."""
        ...

    @property
    def arguments(self) -> frozenset[str]:
        """What a comparison may change about it."""
        ...

    def parts(self, seed: int, *, scale: float = 1.0, folder: Path | None = None, **changed: Any) -> Parts:
        """Its cases, apart by patient."""
        ...

    def draw(self, n: int, seed: int) -> list[Case]:
        """So many cases of its kind; only phantoms can."""
        ...


@dataclass(frozen=True, eq=False)
class Drawn:
    """Phantoms: each seed draws its own cases.

    Args:
        make: `(n, seed, **arguments)` to cases; keyword-only arguments may be changed by a comparison.
        n: How many.
        shares: Part to share.
        stratify: Label that is spread evenly over the parts.
        name: What results call it.
    """

    kind: ClassVar[Kind] = "phantom"
    make: Callable[..., list[Case]]
    n: int
    shares: Mapping[str, float] = field(default_factory=lambda: HALVES)
    stratify: str | None = None
    name: str = "phantom"

    @property
    def arguments(self) -> frozenset[str]:
        """Keyword-only arguments of `make`."""
        return frozenset(n for n, p in inspect.signature(self.make).parameters.items() if p.kind is p.KEYWORD_ONLY)

    def draw(self, n: int, seed: int) -> list[Case]:
        """So many cases."""
        return self.make(n, seed)

    def parts(self, seed: int, *, scale: float = 1.0, folder: Path | None = None, **changed: Any) -> Parts:
        """A seed's cases."""
        cases = self.make(max(round(self.n * scale), LEAST), seed, **changed)
        return parted(cases, self.shares, seed, self.stratify)
