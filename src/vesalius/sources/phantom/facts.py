"""What questions are made from, and how options are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.cases import Region
from vesalius.sources.phantom.model import Finding, Patient


@dataclass(frozen=True)
class Facts:
    """All that questions may be asked about."""

    case_id: str
    study: str
    patient: Patient
    findings: Sequence[Finding]
    resolved: Sequence[str]
    prior: bool
    prevalence: Callable[[str], float]
    regions: Sequence[Region]
    quality: tuple[str, int]
    languages: Sequence[str]


def shuffled(right: str, wrong: Sequence[str], n: int, rng: np.random.Generator) -> tuple[str, ...]:
    """`n` options with the right one at a random place."""
    others = [w for w in dict.fromkeys(wrong) if w != right]
    pick = [others[int(i)] for i in rng.permutation(len(others))[: n - 1]]
    options = [right, *pick]
    return tuple(options[int(i)] for i in rng.permutation(len(options)))
