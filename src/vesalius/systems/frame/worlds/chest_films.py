"""Chest films with one finding or none, drawn or real: what recipes that name one class a case share."""

from __future__ import annotations

from vesalius.cases import Case
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems.frame.inputs import named_class

FINDINGS = ("pleural effusion", "pneumothorax", "cardiomegaly", "atelectasis", "pulmonary edema")
NORMAL = "no finding"


def class_of(case: Case) -> str:
    """The case's one class: what a real set is about, or the phantom's only finding; "" where it has several."""
    if case.source.dataset != "phantom":
        return named_class(case)
    there = [f for f in FINDINGS if case.label(f) == 1]
    return there[0] if len(there) == 1 else NORMAL if not there else ""


def single_finding_films(n: int, seed: int) -> list[Case]:
    """Phantom chest films with at most one of five findings."""
    shares = dict.fromkeys(FINDINGS, 0.2) | dict.fromkeys(("consolidation", "nodule", "mass", "rib fracture"), 0.0)
    config = PhantomConfig(
        seed=seed, studies={"chest_film": 1.0}, organs=False, questions=False, degraded=0.0, uncertain=0.0,
        prevalence=shares,
    )  # fmt: skip
    found: list[Case] = []
    for start in range(0, 20 * n, max(n, 1)):
        found += [c for c in Phantom(config).cases(n, start=start) if class_of(c)]
        if len(found) >= n:
            break
    return found[:n]
