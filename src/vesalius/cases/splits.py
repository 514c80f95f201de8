"""Splits that never put one patient on two sides, balanced by label, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vesalius.cases.record import Case
from vesalius.errors import UsageError

Stratum = str | int | float | bool | None


@dataclass(frozen=True)
class Split:
    """Which case goes where.

    Args:
        parts: Part name to case ids, in the order of the input.
        seed: The seed that made it.
    """

    parts: Mapping[str, tuple[str, ...]]
    seed: int

    def part_of(self) -> dict[str, str]:
        """Case id to part name."""
        return {case_id: name for name, ids in self.parts.items() for case_id in ids}

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"seed": self.seed, "parts": {k: list(v) for k, v in self.parts.items()}}


def split(
    cases: Iterable[Case],
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: str | Callable[[Case], Stratum] | None = None,
    group: Callable[[Case], str] = lambda case: case.group,
) -> Split:
    """Divide cases into named parts by patient.

    Patients are dealt in a seeded order to the part that is furthest behind its share of the patient's rarest label,
    so that label shares stay close in every part; the order does not depend on the order of the input.

    Args:
        cases: The cases.
        fractions: Part name to share; shares are scaled to sum to 1.
        seed: The same seed and cases give the same split.
        stratify: A label's name, or a function of a case, whose values should be spread evenly.
        group: What must stay together (the patient by default).

    Raises:
        UsageError: No part, a share that is negative or not finite, or all shares 0.
    """
    if not fractions or not all(0 <= f < np.inf for f in fractions.values()) or sum(fractions.values()) <= 0:
        raise UsageError("cannot split", item=str(dict(fractions)), why="shares must be >= 0 and not all 0")
    value = _stratum(stratify)
    members: dict[str, list[str]] = defaultdict(list)
    strata: dict[str, Counter[Stratum]] = defaultdict(Counter)
    ids: list[tuple[str, str]] = []
    for case in cases:
        g = group(case)
        members[g].append(case.id)
        strata[g][value(case)] += 1
        ids.append((case.id, g))
    totals: Counter[Stratum] = Counter()
    for counts in strata.values():
        totals.update(counts)
    total_share = sum(fractions.values())
    names = [n for n, f in fractions.items() if f > 0]
    share = {n: fractions[n] / total_share for n in names}
    have: dict[str, Counter[Stratum]] = {n: Counter() for n in names}
    size = dict.fromkeys(names, 0)
    n_cases = sum(totals.values())

    def rarest(g: str) -> Stratum:
        return min(strata[g], key=lambda s: (totals[s], str(s)))

    # Big groups and rare labels first: they are the hardest to place.
    order = sorted(members, key=lambda g: (totals[rarest(g)], -len(members[g]), _seeded(g, seed)))
    home: dict[str, str] = {}
    for g in order:
        key = rarest(g)
        home[g] = max(
            names, key=lambda n: (share[n] * totals[key] - have[n][key], share[n] * n_cases - size[n], share[n])
        )
        have[home[g]].update(strata[g])
        size[home[g]] += len(members[g])
    parts = {n: tuple(i for i, g in ids if home[g] == n) for n in names}
    return Split({n: parts.get(n, ()) for n in fractions}, seed)


def kfold(
    groups: Sequence[str], strata: Sequence[Stratum], k: int, *, seed: int = 0
) -> list[tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]]:
    """`k` pairs of (train, test) indices; a group (patient) is in one test fold only, labels spread evenly.

    Raises:
        UsageError: Fewer groups than folds, or fewer than two folds.
    """
    if k < 2:
        raise UsageError(
            "cannot make folds", item=f"k={k}", why="one fold leaves nothing to train on", fix="use 2 or more"
        )
    if len(set(groups)) < k:
        raise UsageError(
            "cannot make folds", item=f"k={k}", why=f"there are only {len(set(groups))} patients", fix="lower k"
        )
    cases = [Case(id=str(i), patient=str(g)) for i, g in enumerate(groups)]
    result = split(cases, {str(f): 1.0 for f in range(k)}, seed=seed, stratify=lambda c: strata[int(c.id)])
    everything = np.arange(len(groups))
    folds = []
    for ids in result.parts.values():
        test = np.asarray([int(i) for i in ids], dtype=np.int64)
        folds.append((np.setdiff1d(everything, test), test))
    return folds


def _stratum(stratify: str | Callable[[Case], Stratum] | None) -> Callable[[Case], Stratum]:
    if stratify is None:
        return lambda _: None
    if isinstance(stratify, str):
        name = stratify
        return lambda case: case.label(name)
    return stratify


def _seeded(text: str, seed: int) -> bytes:
    """A pseudo-random sort key that depends on the text and the seed alone."""
    return hashlib.sha256(f"{seed}\0{text}".encode()).digest()
