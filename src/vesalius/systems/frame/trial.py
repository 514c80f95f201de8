"""One system on one world with one seed: what is compared is made alike, each thing once."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from vesalius.job import Job
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.claims import Claim, margin_of
from vesalius.systems.frame.scores import Each, averaged
from vesalius.systems.frame.worlds.world import Parts, World

if TYPE_CHECKING:
    from vesalius.systems.frame.recipe import System

T = TypeVar("T")


@dataclass(frozen=True)
class Comparison:
    """A line of what is measured; see `System.compare`, which makes it."""

    text: str
    score: Callable[..., Any]
    against: Mapping[str, Any] | float
    goal: float
    given: Mapping[str, Any]
    lower_is_better: bool
    on: tuple[str, ...]
    over: Mapping[str, Sequence[Any]]

    def concerns(self, world: World) -> bool:
        """Whether it is measured on a world."""
        return not self.on or world.name in self.on or world.kind in self.on


class Trial:
    """Makes and measures; whatever two comparisons need, and every variant's cases, steps and seed, is the same.

    Args:
        system: The system.
        world: Cases.
        job: Its seed is that of everything random.
        folder: Folder with the open data sets.
        scale: Share of the recipe's own cases and steps.
    """

    def __init__(self, system: System, world: World, job: Job, folder: Path | None = None, scale: float = 1.0) -> None:
        self.system, self.world, self.job, self.folder, self.scale = system, world, job, folder, scale
        steps = int(getattr(system, "steps", 0))
        self.budget = Budget(steps=max(round(steps * scale), min(steps, 2)))
        self._kept: dict[Any, Any] = {}

    def claims(self) -> tuple[Claim, ...]:
        """Every comparison that concerns this world."""
        found = []
        for comparison in self.system.comparisons:
            if comparison.concerns(self.world):
                self.job.check()
                started = time.perf_counter()
                made = self.claim(comparison)
                found.append(replace(made, seconds=time.perf_counter() - started))
                self.job.note(str(found[-1]))
        return tuple(found)

    def claim(self, comparison: Comparison) -> Claim:
        """Measure one comparison."""
        ours = self.score(comparison, {})
        if isinstance(comparison.against, Mapping):
            other: Each | float = self.score(comparison, comparison.against)
            same_cases = not set(comparison.against) & set(self.world.arguments)
        else:
            other, same_cases = float(comparison.against), True
        m = margin_of(
            ours, other, seed=self.job.seed, lower_is_better=comparison.lower_is_better, same_cases=same_cases
        )
        return Claim(
            self.system.name, comparison.text, m.ours, m.baseline, m.margin, m.low, m.high, comparison.goal, m.n,
            self.job.seed, self.world.name,
        )  # fmt: skip

    def score(self, comparison: Comparison, changed: Mapping[str, Any]) -> Each:
        """The score of one side, averaged over what it is to be averaged over."""
        several = []
        for values in itertools.product(*comparison.over.values()):
            arguments = {**comparison.given, **dict(zip(comparison.over, values, strict=True)), **changed}
            several.append(self._measured(comparison.score, arguments))
        return several[0] if len(several) == 1 else averaged(several)

    def _measured(self, score: Callable[..., Any], arguments: Mapping[str, Any]) -> Each:
        def measure() -> Each:
            parts = self.parts(arguments)
            got = score(self.made(arguments), parts, **_taken(score, arguments))
            return got if isinstance(got, Each) else Each(np.asarray(got), parts.groups)

        return self._once(("score", id(score), _key(arguments)), measure)

    def parts(self, arguments: Mapping[str, Any]) -> Parts:
        """The world's cases, with its arguments changed."""
        mine = {k: v for k, v in arguments.items() if k in self.world.arguments}
        return self._once(
            ("parts", _key(mine)),
            lambda: self.world.parts(self.job.seed, scale=self.scale, folder=self.folder, **mine),
        )

    def made(self, arguments: Mapping[str, Any]) -> Any:
        """What the recipe trains, or the protocol reads, with its arguments changed."""
        mine = _taken(self.system.function, arguments)
        world = {k: v for k, v in arguments.items() if k in self.world.arguments}

        return self._once(
            ("made", _key(mine), _key(world)),
            lambda: self.system.make(self.parts(arguments), self.budget, self.job, **mine),
        )

    def _once(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept


def _taken(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments that a function takes by keyword."""
    known = {n for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    return {k: v for k, v in arguments.items() if k in known}


def _key(arguments: Mapping[str, Any]) -> str:
    return repr(sorted((k, repr(v)) for k, v in arguments.items()))
