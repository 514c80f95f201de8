"""What the bottleneck is checked on: films on which a marker, or the view, goes along with the class in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut
from vesalius.systems.frame.inputs import class_of
from vesalius.systems.frame.worlds.real import Sets
from vesalius.systems.frame.worlds.world import LEAST, Kind, Parts
from vesalius.training.two_tower import PictureAligner

FINDING, NONE = "pleural effusion", "no finding"
#: Share of each finding on the phantom films, so that a scorer learns more signs than those of one class.
SHARES = {FINDING: 0.5, "cardiomegaly": 0.3, "pneumothorax": 0.3, "atelectasis": 0.3}
MARKER, BARE = "bright square marker in the corner", "empty film corner"
VIEWS = ("anteroposterior view", "posteroanterior view")
#: How often class and confounder agree where a head is trained.
AGREE = 0.95


def marked_films(n: int, seed: int, correlation: float = 0.0, difficulty: float = 0.25) -> list[Case]:
    """Chest films with or without effusion, and a marker in a corner that goes along with it so much."""
    others = dict.fromkeys(("consolidation", "nodule", "mass", "pulmonary edema", "rib fracture"), 0.0)
    config = PhantomConfig(
        seed=seed, studies={"chest_film": 1.0}, prevalence={**SHARES, **others}, size=PictureAligner.SIDE,
        organs=False, questions=False, difficulty=difficulty, uncertain=0.0, degraded=0.0,
        shortcut=Shortcut(FINDING, "marker", correlation),
    )  # fmt: skip
    return list(Phantom(config).cases(n))


@dataclass(frozen=True, eq=False)
class MarkedFilms:
    """Phantoms: films with captions for a scorer, films to train on whose marker agrees with the class, and others.

    Args:
        n: Films with captions; half as many to train on and to test on.
        difficulty: How faint the findings are.
    """

    kind: ClassVar[Kind] = "phantom"
    n: int = 1000
    difficulty: float = 0.05
    name: str = "phantom"
    arguments: frozenset[str] = frozenset()

    def draw(self, n: int, seed: int) -> list[Case]:
        """So many films, the marker going along with nothing."""
        return marked_films(n, seed, difficulty=self.difficulty)

    def parts(self, seed: int, *, scale: float = 1.0, folder: Path | None = None, **changed: Any) -> Parts:
        """A seed's films."""
        n = max(round(self.n * scale), 2 * LEAST)
        told, train, test = (
            marked_films(m, 3 * seed + k, c, self.difficulty)
            for k, (m, c) in enumerate(((n, 0.0), (n // 2, 2 * AGREE - 1), (n // 2, 0.0)))
        )
        return Parts(train, test, seed=seed, extra={"told": told})


@dataclass(frozen=True, eq=False)
class FilmsByView(Sets):
    """Real films of two classes; those to train on are thinned out until the view goes along with the class."""

    def parts(self, seed: int, *, scale: float = 1.0, folder: Path | None = None, **changed: Any) -> Parts:
        """The films; the test films are as they are."""
        whole = super().parts(seed, scale=scale, folder=folder)
        y = np.asarray([int(class_of(c) != NONE) for c in whole.train])
        at = aligned(y, np.asarray([confounded(c) for c in whole.train]), AGREE, whole.rng(42))
        return Parts([whole.train[i] for i in at], whole.test, seed=seed)


def confounded(case: Case) -> int:
    """1 where a case has what goes along with the class: the marker, or the AP view."""
    return int(bool(case.attributes["shortcut"])) if "shortcut" in case.attributes else int(case.images[0].view == "AP")


def said_of(case: Case, phrases: Sequence[str], owners: dict[str, str]) -> list[bool]:
    """Which phrases are true of a phantom film: signs of the findings that it has, and whether it has the marker."""
    here = {f: case.label(f) == 1 for f in SHARES}
    here[NONE] = not any(here.values())
    return [here[owners[p]] if p in owners else bool(confounded(case)) == (p == MARKER) for p in phrases]


def aligned(
    y: npt.NDArray[np.int64], confounder: npt.NDArray[np.int64], share: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Indices of the most cases among which class and confounder agree in a given share: one then stands for the other.

    Args:
        y: `(n,)` 0/1 class.
        confounder: `(n,)` 0/1.
        share: Share of cases with `y == confounder`, in (0.5, 1].
        rng: Draws the cases that disagree, half of each class where there are enough.
    """
    agree = np.flatnonzero(y == confounder)
    each = round(len(agree) * (1 - share) / share / 2)
    other = [rng.permutation(np.flatnonzero((y != confounder) & (y == k)))[:each] for k in (0, 1)]
    return np.sort(np.concatenate([agree, *other]))
