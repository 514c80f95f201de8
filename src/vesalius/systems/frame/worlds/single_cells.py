"""Single cells cut out of smears and tissue: the small, many, hard-enough pictures that robustness is checked on."""

from __future__ import annotations

from pathlib import Path

from vesalius.cases import Case
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems.frame.inputs import crops, real_set

#: Side of the square around a drawn cell in pixels.
SIDE = 48
KINDS = ("red cell", "sickle cell", "target cell", "white cell", "platelet")
#: Real set to the side of the square (16 micrometres of tissue; a white cell with its neighbours) and the kinds.
REAL = {
    "brca-m2c": (32, ("lymphocyte", "stroma", "tumour_or_epithelial")),
    "cbc": (96, ("RBC", "WBC", "Platelets")),
}


def phantom_cells(each: int, seed: int) -> list[Case]:
    """Up to so many cells of each of five kinds, out of drawn smears; a smear is a patient."""
    config = PhantomConfig(
        seed=seed, studies={"blood": 1.0}, size=256, questions=False, geometries=("point",), difficulty=0.6,
        prevalence={"sickle cells": 0.5, "target cells": 0.5, "leukocytosis": 0.5}, degraded=0.0,
    )  # fmt: skip
    smears = Phantom(config).cases(max(each // 5, 6))
    return crops(smears, KINDS, SIDE, each, seed)


def real_cells(folder: Path | None, name: str, each: int, seed: int) -> list[Case]:
    """Up to so many cells of each kind that a real set marks, with their patients (cbc: pictures)."""
    side, kinds = REAL[name]
    return crops(real_set(folder, name), kinds, side, each, seed)
