"""Single cells cut out of smears and tissue: the small, many, hard-enough pictures that robustness is checked on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from vesalius.cases import Case, Image, Label
from vesalius.cases.geometry import Box, Point
from vesalius.sources.phantom import Phantom, PhantomConfig

#: Side of the square around a drawn cell in pixels.
SIDE = 48
KINDS = ("red cell", "sickle cell", "target cell", "white cell", "platelet")


def phantom_cells(n: int, seed: int, *, difficulty: float = 0.6) -> list[Case]:
    """Cells of five kinds, out of drawn smears; a smear is a patient.

    Args:
        n: Most cells; of each kind a fifth.
        seed: Seed of the phantom.
        difficulty: How alike the kinds are and how noisy the picture, in [0, 1].
    """
    each = -(-n // len(KINDS))
    config = PhantomConfig(
        seed=seed, studies={"blood": 1.0}, size=256, questions=False, geometries=("point",), difficulty=difficulty,
        prevalence={"sickle cells": 0.5, "target cells": 0.5, "leukocytosis": 0.5}, degraded=0.0,
    )  # fmt: skip
    return crops(Phantom(config).cases(max(each // 5, 6)), KINDS, SIDE, each, seed)[:n]


def cut_out(labels: Sequence[str], side: int, each: int) -> Callable[[Sequence[Case], int], list[Case]]:
    """What makes a set's pictures into single cells: a world's `expand`; arguments as for `crops`."""
    return lambda cases, seed: crops(cases, labels, side, each, seed)


def crops(cases: Iterable[Case], labels: Sequence[str], side: int, each: int, seed: int) -> list[Case]:
    """One case for each marked thing: the square around it in the picture's own pixels, its label as `class`.

    Args:
        cases: Cases whose regions on the first picture are points or boxes.
        labels: Region labels to take.
        side: Side of the square in pixels; the picture is mirrored at its edges.
        each: Most crops of a label, drawn evenly from all that there are.
        seed: Seed of that draw.
    """
    given = list(cases)
    found: dict[str, list[tuple[int, int, int]]] = {label: [] for label in labels}
    for i, case in enumerate(given):
        places: dict[tuple[str, int, int], None] = {}  # what is marked twice (as a part and as a finding) counts once
        for region in case.regions:
            if region.label in found and region.image == 0 and isinstance(region.geometry, Point | Box):
                at = region.geometry.centre if isinstance(region.geometry, Box) else region.geometry
                places[region.label, int(at.y), int(at.x)] = None
        for label, y, x in places:
            found[label].append((i, y, x))
    rng = np.random.default_rng((seed, 0xC507))
    taken = sorted((*places[j], label) for label, places in found.items() for j in rng.permutation(len(places))[:each])
    out: list[Case] = []
    for i, group in itertools.groupby(taken, key=lambda t: t[0]):
        case, image = given[i], given[i].images[0]
        array = image.pixels()
        # One side of margin on each side, so that any place in the picture can be a middle.
        wide = np.pad(array, [(side, side)] * 2 + [(0, 0)] * (array.ndim - 2), mode="reflect")
        for _, y, x, label in group:
            top, left = y + side - side // 2, x + side - side // 2
            cut = np.ascontiguousarray(wide[top : top + side, left : left + side])
            small = Image(array=cut, modality=image.modality, body_part=image.body_part)
            out.append(
                Case(f"{case.id}@{y},{x}", case.group, images=(small,), labels={"class": Label(label)},
                     source=case.source)
            )  # fmt: skip
    return out
