"""Open sets as worlds: the cases that a system trains on are ones that the frozen tower below it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vesalius.cases import Case, Label
from vesalius.errors import MissingError, UsageError
from vesalius.sources.open_sets.splits import Part, in_part
from vesalius.systems.frame.worlds.world import HALVES, LEAST, Kind, Parts, parted


@lru_cache(maxsize=8)
def _read(folder: Path, name: str) -> tuple[Case, ...]:
    from vesalius.sources.open_sets.readers import read_layout

    return tuple(read_layout(name, folder / name))


def real_set(folder: Path | None, name: str) -> list[Case]:
    """The cases of one open set below a folder, in its published layout; read once in a process.

    Raises:
        MissingError: The folder was not given or does not hold the set.
    """
    if folder is None or not (folder / name).is_dir():
        raise MissingError(
            "real set is not there", item=str(folder / name) if folder else name, fix="give the folder above it"
        )
    return list(_read(folder, name))


def diagnosed(case: Case) -> Case | None:
    """The case with the one diagnosis that its set is about as the label `class`; None where it has none.

    busi: benign, malignant or normal; isic2017: melanoma or benign skin lesion; nih-cxr14: pneumonia or no finding
    (films with other findings only have none); other sets: their own label `class`.
    """
    name = str(case.label("class") or "")
    match case.source.dataset:
        case "isic2017":
            status = case.label("melanoma")
            name = "" if status is None else "melanoma" if status == 1 else "benign skin lesion"
        case "nih-cxr14":
            name = (
                "pneumonia" if case.label("Pneumonia") == 1 else "no finding" if case.label("No Finding") == 1 else ""
            )
    return case.replace(labels={**case.labels, "class": Label(name)}) if name else None


#: A world's part to the part of the open sets. Where nothing is chosen, what is for choosing is trained on too: nano
#: was not trained on it either, and the part `system` alone is small.
PART_OF: Mapping[str, tuple[Part, ...]] = {"train": ("system",), "validation": ("validation",), "test": ("test",)}


@dataclass(frozen=True, eq=False)
class Sets:
    """One or more open sets, apart by patient.

    Where a system stands on nano, it is trained and tested on parts that nano was not trained on (`open_sets.splits`),
    the same for every seed; elsewhere each seed splits anew, and all cases are used.

    Args:
        sets: Their names.
        pick: From a case to the case as it is used, or None to leave it out; or, with `expand`, to several.
        on_nano: Whether the system stands on nano.
        shares: Part to share.
        most: Most cases of one set, 0 for all.
        expand: From a set's cases and a seed to what they are made into (single cells, films of one kind).
        name: What results call it; the sets' names when empty.
    """

    kind: ClassVar[Kind] = "real"
    sets: tuple[str, ...]
    pick: Callable[[Case], Case | None] = diagnosed
    on_nano: bool = True
    shares: Mapping[str, float] = field(default_factory=lambda: HALVES)
    most: int = 0
    expand: Callable[[Sequence[Case], int], list[Case]] | None = None
    stratify: str | None = "class"
    title: str = ""

    @property
    def name(self) -> str:
        """What results call it."""
        return self.title or "+".join(self.sets)

    @property
    def arguments(self) -> frozenset[str]:
        """Nothing can be changed about real cases."""
        return frozenset()

    def draw(self, n: int, seed: int) -> list[Case]:
        """Real cases cannot be drawn."""
        raise UsageError("real cases cannot be drawn", item=self.name, fix="use the phantom world")

    def parts(self, seed: int, *, scale: float = 1.0, folder: Path | None = None, **changed: Any) -> Parts:
        """The sets' cases, each set parted on its own."""
        found: dict[str, list[Case]] = {part: [] for part in self.shares}
        for name in self.sets:
            cases = real_set(folder, name)
            if not self.on_nano:
                one = parted(self._used(cases, seed, scale), self.shares, seed, self.stratify)
            else:
                own = {part: self._used(in_part(cases, *self._of(part)), seed, scale) for part in self.shares}
                one = Parts.of(own, seed)
            for part in self.shares:
                found[part] += getattr(one, part)
        return Parts.of(found, seed)

    def _of(self, part: str) -> tuple[Part, ...]:
        spare = PART_OF["validation"] if part == "train" and "validation" not in self.shares else ()
        return (*PART_OF[part], *spare)

    def _used(self, cases: Sequence[Case], seed: int, scale: float) -> list[Case]:
        """Cases as they are used: picked, made into others, no more than asked for."""
        used = [u for c in cases if (u := self.pick(c)) is not None]
        if self.expand is not None:
            used = self.expand(used, seed)
        most = min(self.most or len(used), len(used))
        if scale < 1:
            most = min(max(round(most * scale), LEAST), most)
        if most < len(used):
            order = np.random.default_rng((seed, 0x5E7)).permutation(len(used))
            used = [used[i] for i in sorted(order[:most])]
        return used
