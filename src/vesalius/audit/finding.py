"""What an audit says: one tested statement with its numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.inference import holm

__all__ = ["Finding", "adjust", "normal_p", "plain"]


@dataclass(frozen=True)
class Finding:
    """One statement about a model or a data set.

    Args:
        section: Which audit made it (`subgroups`, `shortcuts`, ...).
        name: What it is about, short and stable (`auroc:sex=F`): gates and tests refer to it.
        text: The statement in a sentence.
        measure: The number behind it, with its interval and the cases it rests on.
        null: The value the number has when nothing is wrong.
        p: p-value of the null value; None for what is only described.
        p_adjusted: After correction over everything tested in the same run.
        alarm: True when the evidence passes the run's error rate (and the effect its smallest size of interest).
        details: More numbers.
    """

    section: str
    name: str
    text: str
    measure: Measure
    null: float = 0.0
    p: float | None = None
    p_adjusted: float | None = None
    alarm: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def effect(self) -> float:
        """How far the number lies from its null value."""
        return self.measure.value - self.null

    def to_dict(self) -> dict[str, Any]:
        """Plain data; numbers that do not exist are None."""
        out: dict[str, Any] = plain({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        return out


def adjust(findings: Sequence[Finding], alpha: float = 0.05, smallest: float = 0.0) -> tuple[Finding, ...]:
    """Holm's correction over every tested finding; sets `p_adjusted` and `alarm`.

    The chance that a run in which nothing is wrong raises any alarm is then at most `alpha`, whatever the tests have to
    do with each other (Holm, Scand J Stat 1979).

    Args:
        findings: All findings of one run.
        alpha: Family-wise error rate.
        smallest: Effects nearer to the null value than this raise no alarm however sure they are.
    """
    tested = [(i, f.p) for i, f in enumerate(findings) if f.p is not None]
    out = list(findings)
    if tested:
        for (i, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
            f = findings[i]
            alarm = bool(p <= alpha and abs(f.effect) >= smallest)
            out[i] = dataclasses.replace(f, p_adjusted=float(p), alarm=alarm)
    return tuple(out)


def normal_p(z: float, *, two_sided: bool = True) -> float:
    """p-value of a standard normal statistic; one-sided means large values speak against the null."""
    tail = 0.5 * math.erfc((abs(z) if two_sided else z) / math.sqrt(2))
    return min(1.0, 2 * tail if two_sided else tail)


def plain(value: Any) -> Any:
    """Numpy numbers, arrays, tuples and measures as JSON data; NaN and infinity as None."""
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Measure):
        return value.to_dict()
    return value
