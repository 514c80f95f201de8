"""Drawn chest films: with one finding or none, what recipes that name one class a case share."""

from __future__ import annotations

from vesalius.cases import Case, Label
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems.frame.inputs import class_of

FINDINGS = ("pleural effusion", "pneumothorax", "cardiomegaly", "atelectasis", "pulmonary edema")
NORMAL = "no finding"


def single_finding_films(n: int, seed: int, *, difficulty: float = 0.3) -> list[Case]:
    """Phantom chest films with at most one of five findings, which is their label `class`.

    Args:
        n: How many.
        seed: Seed of the phantom.
        difficulty: How faint findings are, in [0, 1].
    """
    shares = dict.fromkeys(FINDINGS, 0.2) | dict.fromkeys(("consolidation", "nodule", "mass", "rib fracture"), 0.0)
    config = PhantomConfig(
        seed=seed, studies={"chest_film": 1.0}, organs=False, questions=False, degraded=0.0, uncertain=0.0,
        prevalence=shares, difficulty=difficulty,
    )  # fmt: skip
    found: list[Case] = []
    for start in range(0, 20 * n, max(n, 1)):
        drawn = (_one_class(c) for c in Phantom(config).cases(n, start=start))
        found += [c for c in drawn if class_of(c)]
        if len(found) >= n:
            break
    return found[:n]


def _one_class(case: Case) -> Case:
    there = [f for f in FINDINGS if case.label(f) == 1]
    name = there[0] if len(there) == 1 else NORMAL if not there else ""
    return case.replace(labels={**case.labels, "class": Label(name)}) if name else case
