"""What a system is: a function that trains a model or reads cases, its claim, its worlds, and what is compared.

    @recipe("3mt", claim="Skipping what is missing ...", model=ThreeMTModel, steps=250, worlds=(FILMS,))
    def three_mt(cases, budget, job, *, missing="skip", dropout=0.4): ...

    three_mt.compare("accuracy without image", accuracy, given={"without": "image"}, against={"missing": "zeros"},
                     goal=0.08)

An ablation is a changed argument: of the recipe, of the score or of the world. The frame does the rest (`trial`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vesalius.cases import Case
from vesalius.errors import BadInputError, MissingError
from vesalius.job import Job
from vesalius.systems.frame.budget import Budget, placed
from vesalius.systems.frame.catalogue import Entry, find
from vesalius.systems.frame.claims import Claim
from vesalius.systems.frame.inputs import require_cases
from vesalius.systems.frame.model import SystemModel
from vesalius.systems.frame.trial import Comparison, Trial
from vesalius.systems.frame.worlds.world import Kind, Parts, World

S = TypeVar("S", bound="System")
#: Name to the system, filled as modules are imported.
REGISTERED: dict[str, System] = {}


@dataclass(eq=False)
class System:
    """A published system: what is claimed of it, on what, and how that is measured.

    Args:
        name: Name in the catalogue.
        claim: The claim, in one sentence.
        function: Makes what is measured; its keyword-only arguments are what a comparison may change.
        worlds: Cases that it is checked on.
        comparisons: What is compared, in order; filled by `compare`.
    """

    name: str
    claim: str
    function: Callable[..., Any]
    worlds: tuple[World, ...]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def entry(self) -> Entry:
        """Its row of the catalogue."""
        return find(self.name)

    @property
    def causes(self) -> str:
        """Why what failed did, and what was tried: the recipe's docstring."""
        return inspect.cleandoc(inspect.getmodule(self.function).__doc__ or "")

    def compare(
        self,
        text: str,
        score: Callable[..., Any],
        *,
        against: Mapping[str, Any] | float,
        goal: float = 0.0,
        given: Mapping[str, Any] | None = None,
        lower_is_better: bool = False,
        on: Sequence[str] = (),
        over: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        """Add a line to what `check` measures.

        Args:
            text: What is compared, in a few words.
            score: `(made, parts, **arguments)` to a score (`frame.scores`), or to `(n,)` numbers of `parts.test`.
            against: The ablation: arguments that are changed; or a number that the score itself must reach.
            goal: See `claims.Claim`.
            given: Arguments of both sides.
            lower_is_better: True for errors.
            on: Kinds or names of worlds; everywhere when empty.
            over: Argument to several values; scores of a case are averaged over them.

        Raises:
            TypeError: An argument is not one of recipe, score or world.
        """
        made = Comparison(text, score, against, goal, dict(given or {}), lower_is_better, tuple(on), dict(over or {}))
        known = {n for w in self.worlds for n in w.arguments} | names_of(self.function) | names_of(score)
        changed = set(against) if isinstance(against, Mapping) else set()
        if unknown := sorted((changed | set(made.given) | set(made.over)) - known):
            raise TypeError(f"{self.name}, {text!r}: nothing takes {', '.join(unknown)}; there are {sorted(known)}")
        self.comparisons.append(made)

    def world(self, name: str) -> World:
        """The world with this name, or the first of this kind.

        Raises:
            MissingError: There is none.
        """
        for world in self.worlds:
            if name in (world.name, world.kind):
                return world
        raise MissingError(
            "the system is not checked on this", item=f"{self.name}: {name}",
            why=f"it is on {', '.join(w.name for w in self.worlds)}",
        )  # fmt: skip

    def make(self, parts: Parts, budget: Budget, job: Job, **changed: Any) -> Any:
        """What is measured."""
        raise NotImplementedError

    def check(
        self, kind: Kind | None = "phantom", *, job: Job | None = None, folder: Path | None = None, scale: float = 1.0
    ) -> tuple[Claim, ...]:
        """Make the mechanism and its ablations alike and compare them on cases that neither has seen.

        Args:
            kind: Worlds of one kind; None all.
            job: Its seed is that of cases, split, training and resampling.
            folder: Folder with the open data sets, for real worlds.
            scale: Share of the recipe's own cases and steps, for tests.
        """
        return tuple(
            claim for world in self.worlds if kind in (None, world.kind)
            for claim in Trial(self, world, placed(job), folder, scale).claims()
        )  # fmt: skip


@dataclass(eq=False)
class Recipe(System):
    """A system that trains a model.

    Args:
        model: What it trains.
        steps: Its own number of optimiser steps.
        options: What a user may set: argument to what it means (`vesalius train NAME --set name=value`).
    """

    model: type[SystemModel] = field(kw_only=True)
    steps: int = 0
    options: Mapping[str, str] = field(default_factory=dict)

    def example(self, n: int, seed: int) -> list[Case]:
        """Phantom cases of the kind that the system trains on."""
        return self.world("phantom").draw(n, seed)

    def train(
        self, cases: Sequence[Case], budget: Budget | None = None, job: Job | None = None, **changed: Any
    ) -> SystemModel:
        """Train on cases; every figure in the model's config comes from them.

        Args:
            cases: Training cases.
            budget: How much to train.
            job: Seed, device, and who is told.
            changed: Keyword arguments of the recipe.

        Raises:
            BadInputError: The cases lack what the system learns from, or the recipe does not take an argument.
        """
        require_cases(cases, self.name)
        if unknown := sorted(set(changed) - names_of(self.function)):
            raise BadInputError("the system does not take this", item=f"{self.name}: {', '.join(unknown)}")
        trained: SystemModel = self.function(cases, (budget or Budget()).of(self.steps), placed(job), **changed)
        return trained

    def make(self, parts: Parts, budget: Budget, job: Job, **changed: Any) -> SystemModel:
        """A model trained on a world's training cases."""
        return self.train(parts.train, budget, job, **{**parts.extra, **changed})


@dataclass(eq=False)
class Protocol(System):
    """A system that only evaluates: its function reads a world's test cases and there is nothing to train."""

    def make(self, parts: Parts, budget: Budget, job: Job, **changed: Any) -> Any:
        """What the protocol reads off a world's test cases."""
        return self.function(parts.test, job, **changed)


def names_of(function: Callable[..., Any]) -> set[str]:
    """The keyword-only arguments of a function."""
    return {n for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}


def recipe(
    name: str,
    *,
    claim: str,
    model: type[SystemModel],
    steps: int,
    worlds: Sequence[World],
    options: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., SystemModel]], Recipe]:
    """Make a recipe of a function `(cases, budget, job, *, ...)` that returns a trained model; see `Recipe`."""

    def register(function: Callable[..., SystemModel]) -> Recipe:
        made = Recipe(name, claim, function, tuple(worlds), model=model, steps=steps, options=dict(options or {}))
        return _register(made)

    return register


def protocol(name: str, *, claim: str, worlds: Sequence[World]) -> Callable[[Callable[..., Any]], Protocol]:
    """Make a protocol of a function `(cases, job, *, ...)` that returns what scores read; see `Protocol`."""
    return lambda function: _register(Protocol(name, claim, function, tuple(worlds)))


def _register(system: S) -> S:
    if system.name in REGISTERED:
        raise ValueError(f"{system.name} registers twice")
    REGISTERED[system.name] = system
    return system
