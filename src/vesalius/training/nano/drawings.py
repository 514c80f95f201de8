"""Drawings beside real pictures: kinds of image that no open set shows, and ones on which nothing may be forgotten."""

from __future__ import annotations

from collections.abc import Iterator

from vesalius.cases import Case
from vesalius.sources.phantom import STUDY_NAMES, Phantom, PhantomConfig

#: Studies that are left out: cells that move are no kind of picture that anybody names.
_LEFT_OUT = ("cell_video",)
STUDIES = tuple(s for s in STUDY_NAMES if s not in _LEFT_OUT)


def drawings(each: int, seed: int, size: int = 256) -> Iterator[Case]:
    """Phantoms of every kind of study, one study after the other.

    Args:
        each: Cases of each study.
        seed: Seed of the phantoms.
        size: Side of flat pictures.
    """
    for study in STUDIES:
        phantom = Phantom(
            PhantomConfig(name=f"phantom-{study}", studies={study: 1.0}, seed=seed, size=size, questions=False)
        )
        for number in range(each):
            yield phantom.case(number)
