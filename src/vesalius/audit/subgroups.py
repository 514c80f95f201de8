"""Subgroups: the same measure in every group, its gap to everyone else, and whether the gap can be chance.

One set of bootstrap resamples (by patient where patients are known) serves all groups and measures, so hundreds of
intervals cost little more than one. A group with too few cases is listed and not judged. The gap of a group is its
value minus that of all other cases whose attribute is known; tests are corrected over all groups (Holm).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import Finding, adjust, plain
from vesalius.audit.groups import Group, groups_of
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import binary_scores, same_length
from vesalius.metrics.classification.calibration import ece
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.bootstrap import resample_counts

__all__ = ["MEASURES", "GroupResult", "Kind", "SubgroupReport", "subgroups"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Kind = Literal["auroc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "selection_rate", "calibration"]

#: Kind of figure to (what it is, cases it needs). `calibration` is the mean of probability minus label (0 is right).
MEASURES: Mapping[str, str] = {
    "auroc": "area under the ROC curve",
    "sensitivity": "sensitivity at the threshold",
    "specificity": "specificity at the threshold",
    "ppv": "positive predictive value at the threshold",
    "npv": "negative predictive value at the threshold",
    "accuracy": "accuracy at the threshold",
    "selection_rate": "share called positive",
    "calibration": "mean probability minus observed share of positives",
}


@dataclass(frozen=True)
class GroupResult:
    """One measure in one group.

    Args:
        measure: Name, see `MEASURES`.
        group: Group's name.
        values: Attribute to value.
        n: Cases.
        positives: Positive cases.
        estimate: Value in the group with its bootstrap interval, None when the group is too small.
        gap: Value minus that of the rest, likewise.
        p: p-value of "no gap".
        p_adjusted: Holm over all groups and measures of the report.
        alarm: The gap passes the error rate and the smallest gap of interest.
        ece: Expected calibration error in the group (10 bins), for `calibration` only.
        skipped: Why there is no number.
    """

    measure: str
    group: str
    values: Mapping[str, str]
    n: int
    positives: int
    estimate: Measure | None = None
    gap: Measure | None = None
    p: float | None = None
    p_adjusted: float | None = None
    alarm: bool = False
    ece: float | None = None
    skipped: str = ""


@dataclass(frozen=True)
class SubgroupReport:
    """All groups and measures.

    Args:
        results: One for each group and measure.
        overall: Name of the measure to its value over all cases.
        alpha: Family-wise error rate.
        resamples: Bootstrap resamples.
        equity_scaled_auroc: Attribute to AUROC / (1 + sum of |AUROC - AUROC of group|).
    """

    results: tuple[GroupResult, ...]
    overall: Mapping[str, Measure]
    alpha: float
    resamples: int
    equity_scaled_auroc: Mapping[str, float]

    def worst(self, measure: str = "auroc") -> GroupResult | None:
        """The group with the lowest value (for `calibration`: farthest from 0) among those judged."""
        judged = [(r.estimate.value, r) for r in self.results if r.measure == measure and r.estimate is not None]
        if measure == "calibration":
            return max(judged, key=lambda pair: abs(pair[0]), default=(0.0, None))[1]
        return min(judged, key=lambda pair: pair[0], default=(0.0, None))[1]

    def alarms(self) -> tuple[GroupResult, ...]:
        """Groups whose gap is more than chance."""
        return tuple(r for r in self.results if r.alarm)

    def findings(self) -> tuple[Finding, ...]:
        """The tested gaps, for a run that corrects over several audits."""
        out = []
        for r in self.results:
            if r.p is not None and r.gap is not None and r.estimate is not None:
                text = (
                    f"{MEASURES[r.measure]} in {r.group} (n {r.n}) is {r.estimate.value:.3f}, {abs(r.gap.value):.3f} "
                    f"{'above' if r.gap.value > 0 else 'below'} everyone else"
                )
                out.append(
                    Finding(
                        "subgroups", f"{r.measure}:{r.group}", text, r.gap, 0.0, r.p,
                        details={"estimate": r.estimate, "positives": r.positives},
                    )
                )  # fmt: skip
        return tuple(out)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        out: dict[str, Any] = plain(
            {
                "alpha": self.alpha,
                "resamples": self.resamples,
                "overall": dict(self.overall),
                "equity_scaled_auroc": dict(self.equity_scaled_auroc),
                "groups": [
                    {k: (dict(v) if isinstance(v, Mapping) else v) for k, v in vars(r).items()} for r in self.results
                ],
            }
        )
        return out


def subgroups(
    y: npt.ArrayLike,
    score: npt.ArrayLike,
    attributes: Mapping[str, Sequence[Any]],
    *,
    measures: Sequence[str] = ("auroc", "calibration"),
    threshold: float = 0.5,
    patients: Sequence[Any] | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    depth: int = 1,
    least: int = 10,
    resamples: int = 2000,
    alpha: float = 0.05,
    smallest_gap: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> SubgroupReport:
    """Audit a two-class score over groups.

    Args:
        y: Labels 0/1, shape `(n,)`.
        score: Probabilities (any score when no measure needs a probability or threshold), shape `(n,)`.
        attributes: Name to one value a case; numbers are cut into bands, missing values left out.
        measures: See `MEASURES`.
        threshold: Rule `score >= threshold`.
        patients: Patient of each case: resampled whole.
        bins: Cut points of numeric attributes.
        depth: 2 adds intersections of two attributes, and so on.
        least: Fewest positives and fewest negatives, inside and outside a group, for it to be judged.
        resamples: Bootstrap resamples.
        alpha: Family-wise error rate over all tests of the report.
        smallest_gap: Smaller gaps raise no alarm.
        level: Level of the intervals.
        seed: Seed of the resamples.

    Raises:
        BadInputError: Wrong labels, scores or lengths.
        UsageError: Unknown measure, or an attribute with too many values.
    """
    labels, scores = binary_scores(y, score)
    n = len(labels)
    for name, column in attributes.items():
        same_length(("y", labels), (name, np.asarray(column, dtype=object)))
    unknown = [m for m in measures if m not in MEASURES]
    if unknown:
        raise UsageError("unknown measure", item=", ".join(unknown), fix=f"use one of {', '.join(MEASURES)}")
    if "calibration" in measures and (scores.min() < 0 or scores.max() > 1):
        raise BadInputError("calibration needs probabilities", why=f"scores run to {scores.max():.3g}")
    groups = groups_of(attributes, bins=bins, depth=depth)
    everyone = np.ones(n, dtype=bool)
    # Transposed: a running sum over cases is then one vector addition for all resamples of a block.
    codes = _codes(patients)
    people = _people(codes, everyone)
    blocks = resample_counts(n, resamples, seed, labels, codes)
    counts = [part for block in blocks for part in _columns(block)]
    flat = [_statistic(m, labels, scores, threshold) for m in measures]

    def replicate(index: int, inside: Bools) -> tuple[float, Floats]:
        """(value, resampled values) of one measure on some cases."""
        return flat[index](inside, [np.ones((n, 1), dtype=np.float32)])[0].item(), flat[index](inside, counts)

    overall = {}
    for i, m in enumerate(measures):
        value, drawn = replicate(i, everyone)
        overall[m] = _percentiles(value, drawn, level, n, people)
    results: list[GroupResult] = []
    done: set[bytes] = set()
    for g in groups:
        # The two sides of a two-valued attribute are one question: the test counts once.
        twin = g.rest.tobytes() in done
        done.add(g.member.tobytes())
        for i, m in enumerate(measures):
            ask = functools.partial(replicate, i)
            results.append(_judge(m, g, labels, scores, codes, threshold, least, level, ask, twin))
    results = _corrected(results, alpha, smallest_gap)
    return SubgroupReport(tuple(results), overall, alpha, resamples, _equity(results, overall))


def _judge(
    measure: str,
    group: Group,
    labels: Bools,
    scores: Floats,
    codes: npt.NDArray[np.intp] | None,
    threshold: float,
    least: int,
    level: float,
    replicate: Callable[[Bools], tuple[float, Floats]],
    twin: bool,
) -> GroupResult:
    inside, rest = group.member, group.rest
    n, positives = int(inside.sum()), int(labels[inside].sum())
    short = min(positives, n - positives, int(labels[rest].sum()), int((~labels[rest]).sum()))
    if short < least:
        why = f"fewer than {least} positive or negative cases in or outside the group"
        return GroupResult(measure, group.name, group.values, n, positives, skipped=why)
    here, drawn = replicate(inside)
    there, drawn_rest = replicate(rest)
    difference = drawn - drawn_rest
    difference = difference[np.isfinite(difference)]
    if not math.isfinite(here) or not math.isfinite(there) or len(difference) < 100:
        return GroupResult(measure, group.name, group.values, n, positives, skipped="the measure is undefined here")
    gap = here - there
    called = scores >= threshold
    sizes = (_least_se(measure, v, labels[s], called[s]) for v, s in ((here, inside), (there, rest)))
    floor = math.hypot(*sizes)
    se = max(float(difference.std(ddof=1)), floor)
    return GroupResult(
        measure,
        group.name,
        group.values,
        n,
        positives,
        _percentiles(here, drawn, level, n, _people(codes, inside)),
        _percentiles(gap, difference, level, int(group.known.sum()), _people(codes, group.known)),
        None if twin else _t_p(gap / se, short - 1),
        ece=ece(labels[inside], scores[inside], 10) if measure == "calibration" else None,
    )


def _t_p(t: float, freedom: int) -> float:
    """Two-sided p-value of Student's t: the smallest class decides how well a standard error is known."""
    from scipy.special import stdtr

    return float(2 * stdtr(max(freedom, 1), -abs(t)))


def _least_se(measure: str, value: float, labels: Bools, called: Bools) -> float:
    """A floor for the standard error: resampling shows too little near the edge (all right, perfect separation).

    The value is drawn towards one half by two pseudo-cases; AUROC by Hanley and McNeil (Radiology 1982), shares by
    Agresti and Coull (Am Stat 1998).
    """
    m, n = int(labels.sum()), int((~labels).sum())
    if measure == "calibration":
        return 0.0
    if measure == "auroc":
        k = min(m, n)
        a = (value * k + 1.0) / (k + 2.0)
        q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
        return math.sqrt(max(a * (1 - a) + (m - 1) * (q1 - a * a) + (n - 1) * (q2 - a * a), 0.0) / (m * n))
    k = {"sensitivity": m, "specificity": n, "ppv": int(called.sum()), "npv": int((~called).sum())}.get(measure, m + n)
    p = (value * k + 2.0) / (k + 4.0)
    return math.sqrt(p * (1 - p) / (k + 4.0))


def _statistic(
    measure: str, labels: Bools, scores: Floats, threshold: float
) -> Callable[[Bools, list[Singles]], Floats]:
    """A function of (cases, counts) to resampled values of the measure on those cases."""
    if measure == "auroc":
        return lambda inside, counts: _areas(labels[inside], scores[inside], [c[inside] for c in counts])
    called = scores >= threshold
    top, bottom = {
        "sensitivity": (labels & called, labels),
        "specificity": (~labels & ~called, ~labels),
        "ppv": (labels & called, called),
        "npv": (~labels & ~called, ~called),
        "accuracy": (labels == called, np.ones_like(labels)),
        "selection_rate": (called, np.ones_like(labels)),
        "calibration": (scores - labels, np.ones_like(labels)),
    }[measure]

    def ratio(inside: Bools, counts: list[Singles]) -> Floats:
        columns: Floats = np.stack([top * inside, bottom * inside], axis=1).astype(np.float64)
        parts = np.concatenate([(columns.T @ c).T for c in counts])
        out = np.divide(parts[:, 0], parts[:, 1], out=np.full(len(parts), np.nan), where=parts[:, 1] > 0)
        return np.asarray(out)

    return ratio


def _areas(labels: Bools, scores: Floats, counts: list[Singles]) -> Floats:
    """AUROC for each column of counts `(n, b)`: the positives' counts times the negatives counted below them."""
    positive, negative = np.flatnonzero(labels), np.flatnonzero(~labels)
    negative = negative[np.argsort(scores[negative], kind="stable")]
    below = np.searchsorted(scores[negative], scores[positive], side="left")
    upto = np.searchsorted(scores[negative], scores[positive], side="right")
    out = []
    for block in counts:
        running = np.zeros((len(negative) + 1, block.shape[1]), dtype=np.float32)
        np.cumsum(block[negative], axis=0, out=running[1:])
        mine = block[positive]
        won = np.einsum("pb,pb->b", mine, running[below], dtype=np.float64)
        if (below != upto).any():
            won = (won + np.einsum("pb,pb->b", mine, running[upto], dtype=np.float64)) / 2
        total = mine.sum(axis=0, dtype=np.float64) * running[-1]
        out.append(np.divide(won, total, out=np.full(len(total), np.nan), where=total > 0))
    return np.concatenate(out)


def _columns(block: npt.NDArray[np.int64]) -> list[Singles]:
    """A block of counts `(b, n)` as pieces `(n, up to 128)`; small whole numbers, exact in single precision."""
    return [np.ascontiguousarray(block[i : i + 128].T, dtype=np.float32) for i in range(0, len(block), 128)]


def _corrected(results: list[GroupResult], alpha: float, smallest: float) -> list[GroupResult]:
    tested = [i for i, r in enumerate(results) if r.p is not None]
    found = [Finding("", "", "", results[i].gap or Measure(0.0), p=results[i].p) for i in tested]
    out = list(results)
    for i, f in zip(tested, adjust(found, alpha, smallest), strict=True):
        out[i] = dataclasses.replace(results[i], p_adjusted=f.p_adjusted, alarm=f.alarm)
    return out


def _equity(results: list[GroupResult], overall: Mapping[str, Measure]) -> dict[str, float]:
    if "auroc" not in overall:
        return {}
    total = overall["auroc"].value
    spread: dict[str, float] = {}
    for r in results:
        if r.measure == "auroc" and r.estimate is not None and len(r.values) == 1:
            (name,) = r.values
            spread[name] = spread.get(name, 0.0) + abs(total - r.estimate.value)
    return {name: total / (1 + s) for name, s in spread.items()}


def _people(codes: npt.NDArray[np.intp] | None, inside: Bools) -> int | None:
    return None if codes is None else len(np.unique(codes[inside]))


def _percentiles(value: float, drawn: Floats, level: float, n: int, patients: int | None) -> Measure:
    kept = drawn[np.isfinite(drawn)]
    if len(kept) == 0:
        return Measure(value, level=level, n=n, patients=patients)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Measure(value, float(low), float(high), level, "bootstrap percentile", n, patients)


def _codes(patients: Sequence[Any] | None) -> npt.NDArray[np.intp] | None:
    if patients is None:
        return None
    return np.unique(np.asarray([str(p) for p in patients]), return_inverse=True)[1]
