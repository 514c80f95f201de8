"""How several seeds of one claim become one verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.errors import BadInputError
from vesalius.systems.frame.claims import Claim, Z, bears_out


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

    @property
    def outcome(self) -> str:
        """In words: `holds`, `does not hold` (the whole interval lies below the goal) or `undecided`."""
        if self.holds:
            return "holds"
        return "does not hold" if self.high < self.goal or self.goal > 0 >= self.high else "undecided"

    @property
    def no_room(self) -> bool:
        """Whether an improvement could not show: the ablation is nearer to 1, or an error to 0, than the goal."""
        lower_is_better = (self.ours > self.baseline) != (self.margin > 0)
        return self.goal > 0 and (self.baseline if lower_is_better else 1 - self.baseline) < self.goal


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
    errors = np.asarray([(c.high - c.low) / (2 * Z) for c in claims])
    over_cases = (errors**2).sum() / k**2 if claims[0].data == "phantom" else (errors**2).mean()
    variance = (margins.var(ddof=1) / k if k > 1 else 0.0) + over_cases
    margin, half = float(margins.mean()), Z * math.sqrt(variance)
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
