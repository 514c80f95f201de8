"""What a claim check found, and how several seeds become one verdict. numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.metrics.classification.worst_group import group_means, worst_group_difference
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.metrics.statistics.inference import delong, delong_paired
from vesalius.metrics.statistics.intervals import wilson

Data = Literal["phantom", "real"]
#: z of a two-sided 95 % interval.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Claim:
    """One measured comparison of a mechanism with its ablation, on one seed.

    Args:
        system: Name of the system.
        claim: What is compared, in a few words; the same for every seed (`mIoU, with TaCo - without`).
        ours: The figure with the mechanism.
        baseline: The figure without it, trained alike.
        margin: How much better ours is (positive is better, whatever the figure's direction).
        low: Lower end of the margin's 95 % interval over test cases (or patients).
        high: Upper end.
        goal: Margin that the claim names. Above 0 it is an improvement: the margin must reach it and its interval
            exclude 0. At or below 0 it is "no worse than by this much": the interval's lower end must reach it.
        n: Test cases.
        seed: Seed of data, training and resampling.
        data: `phantom`, or the name of the real set.
        seconds: Wall time of the whole check that gave it.
        details: More figures, for the reader of one run.
    """

    system: str
    claim: str
    ours: float
    baseline: float
    margin: float
    low: float
    high: float
    goal: float
    n: int
    seed: int
    data: str = "phantom"
    seconds: float = math.nan
    details: dict[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether this run bears the claim out."""
        return bears_out(self.margin, self.low, self.goal)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "holds": self.holds}

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.system} on {self.data}, seed {self.seed}: {self.claim}: {self.ours:.3f} against "
            f"{self.baseline:.3f}, margin {self.margin:+.3f} [{self.low:+.3f}, {self.high:+.3f}], goal "
            f"{self.goal:+.3f}, n = {self.n}: {'holds' if self.holds else 'does not hold'}"
        )


def bears_out(margin: float, low: float, goal: float) -> bool:
    """Whether a margin with this lower end reaches the goal; NaN never does."""
    return (margin >= goal and low > 0) if goal > 0 else low >= goal


def paired(
    system: str,
    claim: str,
    ours: npt.ArrayLike,
    baseline: npt.ArrayLike,
    *,
    goal: float,
    seed: int,
    data: str = "phantom",
    groups: Sequence[str] | None = None,
    higher_is_better: bool = True,
    details: dict[str, float] | None = None,
    resamples: int = 2000,
) -> Claim:
    """A claim about the mean of a per-case score, with a paired bootstrap over patients.

    Args:
        system: Name of the system.
        claim: What is compared.
        ours: `(n,)` score of each test case with the mechanism (Dice, IoU, 0/1 for right, ...).
        baseline: `(n,)` score of the same cases without it.
        goal: See `Claim`.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
        groups: Patient of each case; cases of one patient are resampled together. None: each on its own.
        higher_is_better: False for errors.
        details: More figures.
        resamples: Bootstrap resamples.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(baseline, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise BadInputError("scores do not pair", item=system, why=f"shapes {a.shape} and {b.shape}")
    difference = (a - b) * (1 if higher_is_better else -1)
    drawn = bootstrap_mean(difference, groups=groups, resamples=resamples, seed=seed)
    low, high = drawn.interval.low, drawn.interval.high
    return Claim(
        system, claim, float(a.mean()), float(b.mean()), float(difference.mean()), low, high, goal,
        len(a), seed, data, details=details or {},
    )  # fmt: skip


def share_above(
    system: str,
    claim: str,
    right: npt.ArrayLike,
    wanted: float,
    *,
    seed: int,
    data: str = "phantom",
    groups: Sequence[str] | None = None,
    details: dict[str, float] | None = None,
) -> Claim:
    """A claim that the share of right cases reaches `wanted`, with a bootstrap over patients.

    Where all cases are right, or all wrong, resampling gives no width: there it is Wilson's interval, with the number
    of patients as n.

    Args:
        system: Name of the system.
        claim: What is compared.
        right: `(n,)` 0/1 of each test case.
        wanted: Share that the claim names.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
        groups: Patient of each case; None: each its own.
        details: More figures.
    """
    hits = np.asarray(right, np.float64)
    if hits.ndim != 1 or not len(hits) or not np.isin(hits, (0, 1)).all():
        raise BadInputError("a share needs cases that are right or wrong", item=system, why=f"shape {hits.shape}")
    share = float(hits.mean())
    if share in (0.0, 1.0):
        patients = len(hits) if groups is None else len(set(groups))
        interval = wilson(int(share) * patients, patients)
    else:
        interval = bootstrap_mean(hits, groups=groups, resamples=2000, seed=seed).interval
    return Claim(
        system, claim, share, wanted, share - wanted, interval.low - wanted, interval.high - wanted, 0.0,
        len(hits), seed, data, details=details or {},
    )  # fmt: skip


def paired_auroc(
    system: str,
    claim: str,
    y: npt.ArrayLike,
    ours: npt.ArrayLike,
    baseline: npt.ArrayLike,
    *,
    goal: float,
    seed: int,
    data: str = "phantom",
    details: dict[str, float] | None = None,
) -> Claim:
    """A claim about two AUROCs on the same cases, with DeLong's interval of their difference.

    Args:
        system: Name of the system.
        claim: What is compared.
        y: `(n,)` labels 0/1.
        ours: `(n,)` scores with the mechanism.
        baseline: `(n,)` scores without it.
        goal: See `Claim`.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
        details: More figures.
    """
    found = delong_paired(y, ours, baseline)
    interval = found.interval
    low, high = (interval.low, interval.high) if interval is not None else (math.nan, math.nan)
    return Claim(
        system, claim, found.first, found.second, found.difference, low, high, goal, found.n, seed, data,
        details=details or {},
    )  # fmt: skip


def paired_worst_group(
    system: str,
    claim: str,
    ours: npt.ArrayLike,
    baseline: npt.ArrayLike,
    group: Sequence[str],
    *,
    goal: float,
    seed: int,
    data: str = "phantom",
    patients: Sequence[str] | None = None,
    details: dict[str, float] | None = None,
) -> Claim:
    """A claim about the mean score in the group that fares worst, with a paired bootstrap.

    Args:
        system: Name of the system.
        claim: What is compared.
        ours: `(n,)` score of each test case with the mechanism.
        baseline: `(n,)` score of the same cases without it.
        group: Group of each case, such as class x confounder.
        goal: See `Claim`.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
        patients: Cases of one patient are resampled together. None: each on its own, within its group.
        details: More figures.
    """
    drawn = worst_group_difference(ours, baseline, group, patients=patients, seed=seed)
    a, b = (min(group_means(v, group).values()) for v in (ours, baseline))
    interval = drawn.interval
    return Claim(
        system, claim, a, b, a - b, interval.low, interval.high, goal, len(group), seed, data, details=details or {}
    )


def apart(
    system: str, claim: str, ours: tuple[npt.ArrayLike, npt.ArrayLike], baseline: tuple[npt.ArrayLike, npt.ArrayLike],
    *, goal: float, seed: int, data: str = "phantom",
) -> Claim:  # fmt: skip
    """A claim about two AUROCs on different cases, or on the same ones without using that.

    Their errors are added as if independent, which is wider than the truth where the cases are the same.

    Args:
        system: Name of the system.
        claim: What is compared.
        ours: `(n,)` labels 0/1 and scores.
        baseline: Labels and scores of the other.
        goal: See `Claim`.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
    """
    a, b = delong(*ours), delong(*baseline)
    margin, half, n = a.auc - b.auc, _Z * float(np.hypot(a.se, b.se)), a.positives + a.negatives
    return Claim(system, claim, a.auc, b.auc, margin, margin - half, margin + half, goal, n, seed, data)


def above_chance(
    system: str, claim: str, found: tuple[npt.ArrayLike, npt.ArrayLike], *, goal: float, seed: int,
    data: str = "phantom",
) -> Claim:  # fmt: skip
    """A claim that an AUROC is above a half, with DeLong's interval.

    Args:
        system: Name of the system.
        claim: What is measured.
        found: `(n,)` labels 0/1 and scores.
        goal: See `Claim`.
        seed: Seed of this run.
        data: `phantom` or the real set's name.
    """
    e = delong(*found)
    low, high = e.interval.low, e.interval.high
    n = e.positives + e.negatives
    return Claim(system, claim, e.auc, 0.5, e.auc - 0.5, low - 0.5, high - 0.5, goal, n, seed, data)


@dataclass(frozen=True)
class Verdict:
    """Several seeds of one claim, together.

    Args:
        system: Name of the system.
        claim: What is compared.
        data: On what.
        seeds: How many seeds.
        n: Test cases a seed (the smallest).
        ours: Mean over seeds.
        baseline: Mean over seeds.
        margin: Mean over seeds.
        low: Lower end of its 95 % interval over cases and seeds.
        high: Upper end.
        goal: See `Claim`.
        held: In how many seeds the claim held on its own.
        seconds: Mean wall time of a seed.
    """

    system: str
    claim: str
    data: str
    seeds: int
    n: int
    ours: float
    baseline: float
    margin: float
    low: float
    high: float
    goal: float
    held: int
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the seeds together bear the claim out."""
        return bears_out(self.margin, self.low, self.goal)


def verdict(claims: Sequence[Claim]) -> Verdict:
    """Combine the seeds of one claim.

    The margin's variance is that of the mean over seeds, `s^2 / k`, plus that over cases. Phantom seeds draw their own
    test cases, `sum(se_i^2) / k^2`, which errs on the wide side since `s` has it already. Seeds on a real set may share
    their test cases, and no number of seeds makes those more: there it is the mean of `se_i^2`, undivided.

    Raises:
        BadInputError: The claims are not of one system, claim and data.
    """
    if len({(c.system, c.claim, c.data) for c in claims}) != 1:
        raise BadInputError("claims do not belong together", item=", ".join(sorted({c.claim for c in claims})))
    k = len(claims)
    margins = np.asarray([c.margin for c in claims])
    errors = np.asarray([(c.high - c.low) / (2 * _Z) for c in claims])
    over_cases = (errors**2).sum() / k**2 if claims[0].data == "phantom" else (errors**2).mean()
    variance = (margins.var(ddof=1) / k if k > 1 else 0.0) + over_cases
    margin, half = float(margins.mean()), _Z * math.sqrt(variance)
    first = claims[0]
    return Verdict(
        first.system, first.claim, first.data, k, min(c.n for c in claims),
        float(np.mean([c.ours for c in claims])), float(np.mean([c.baseline for c in claims])),
        margin, margin - half, margin + half, first.goal, sum(c.holds for c in claims),
        float(np.mean([c.seconds for c in claims])),
    )  # fmt: skip


def verdicts(claims: Iterable[Claim]) -> list[Verdict]:
    """One verdict for each system, claim and data, in the order they first appear."""
    found: dict[tuple[str, str, str], list[Claim]] = {}
    for c in claims:
        found.setdefault((c.system, c.claim, c.data), []).append(c)
    return [verdict(group) for group in found.values()]
