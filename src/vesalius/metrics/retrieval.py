"""Retrieval: how far up the relevant cases are, the query's own patient excluded.

A query is measured on its ranked candidates. Candidates of the same patient are removed before ranking, because
finding a patient's own other image proves nothing. Queries without any relevant candidate are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import metric
from vesalius.metrics.statistics.bootstrap import bootstrap_mean

__all__ = [
    "Ranked",
    "RetrievalReport",
    "average_precisions",
    "evaluate",
    "hit_at_k",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "ndcg",
    "precision_at_k",
    "rank",
    "recall_at_k",
]

Floats = NDArray[np.float64]
_EDGES = (
    "Queries without a relevant candidate are refused by the functions and left out, counted, by `rank`. "
    "Equal similarities keep the order of the gallery."
)


@dataclass(frozen=True)
class Ranked:
    """Ranked relevance of the candidates of each query.

    Attributes:
        relevance: One array a query, best candidate first; 0 is irrelevant, larger is more relevant.
        query: Row of each kept query in the similarity matrix, shape `(q,)`.
        without: Rows of the queries left out because no candidate is relevant.
    """

    relevance: tuple[Floats, ...]
    query: NDArray[np.intp]
    without: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.relevance)


def _relevance(query: NDArray[Any], gallery: NDArray[Any]) -> Floats:
    if query.ndim == 1 and gallery.ndim == 1:
        return np.asarray(query[:, None] == gallery[None, :], dtype=np.float64)
    if query.ndim == 2 and gallery.ndim == 2 and query.shape[1] == gallery.shape[1]:
        a, b = (query == 1).astype(np.float64), (gallery == 1).astype(np.float64)
        shared = a @ b.T
        union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - shared
        return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
    raise BadInputError(
        "cannot compare labels",
        why=f"query labels have shape {query.shape}, gallery labels {gallery.shape}",
        fix="give one class a case, or 0/1 findings of shape (cases, findings) on both sides",
    )


def rank(
    similarity: ArrayLike,
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    query_patients: Sequence[Any] | None = None,
    gallery_patients: Sequence[Any] | None = None,
) -> Ranked:
    """Rank the gallery for each query and say how relevant each candidate is.

    Args:
        similarity: Larger is nearer, shape `(queries, gallery)`.
        query_labels: One class a query, or findings 0/1 of shape `(queries, findings)`; relevance is equality of
            class, or the share of common among all present findings (Jaccard).
        gallery_labels: The same of the gallery.
        query_patients: Patient of each query.
        gallery_patients: Patient of each candidate; candidates of the query's own patient are left out.

    Returns:
        The ranked relevance.

    Raises:
        BadInputError: Shapes do not fit, patients given for one side only, NaN, or no query has a relevant candidate.
    """
    scores = finite(similarity, "similarity", ndim=2)
    relevance = _relevance(np.asarray(query_labels), np.asarray(gallery_labels))
    if relevance.shape != scores.shape:
        raise BadInputError(
            "inputs differ in length", why=f"similarity is {scores.shape}, labels make {relevance.shape}"
        )
    allowed = np.ones(scores.shape, dtype=bool)
    if (query_patients is None) != (gallery_patients is None):
        raise BadInputError("cannot exclude the same patient", why="patients are known on one side only")
    if query_patients is not None and gallery_patients is not None:
        mine, theirs = np.asarray(query_patients), np.asarray(gallery_patients)
        if (len(mine), len(theirs)) != scores.shape:
            raise BadInputError(
                "inputs differ in length", why=f"{len(mine)} and {len(theirs)} patients for {scores.shape}"
            )
        allowed = mine[:, None] != theirs[None, :]
    kept, without, lists = [], [], []
    for row in range(len(scores)):
        candidates = np.flatnonzero(allowed[row])
        gains = relevance[row, candidates]
        if not gains.any():
            without.append(row)
            continue
        lists.append(gains[np.argsort(-scores[row, candidates], kind="stable")])
        kept.append(row)
    if not kept:
        raise BadInputError("no query can be measured", why=f"none of {len(scores)} queries has a relevant candidate")
    return Ranked(tuple(lists), np.array(kept, dtype=np.intp), np.array(without, dtype=np.intp))


def _lists(ranked: Ranked | Sequence[ArrayLike]) -> tuple[Floats, ...]:
    lists = ranked.relevance if isinstance(ranked, Ranked) else tuple(finite(row, "relevance") for row in ranked)
    if not lists:
        raise BadInputError("nothing to measure", why="there is no query")
    for index, row in enumerate(lists):
        if (row < 0).any():
            raise BadInputError("cannot use relevance", item=f"query {index}", why="it must not be negative")
        if not row.any():
            raise BadInputError(
                "no relevant candidate", item=f"query {index}", fix="leave such queries out, as rank() does"
            )
    return lists


def _depth(k: int) -> int:
    if k < 1:
        raise BadInputError("cannot measure at k", why=f"k is {k}, it must be at least 1")
    return k


def _precisions(lists: tuple[Floats, ...], k: int) -> Floats:
    return np.array([(row[:k] > 0).sum() / k for row in lists])


def _recalls(lists: tuple[Floats, ...], k: int) -> Floats:
    return np.array([(row[:k] > 0).sum() / (row > 0).sum() for row in lists])


def _hits(lists: tuple[Floats, ...], k: int) -> Floats:
    return np.array([float((row[:k] > 0).any()) for row in lists])


def _reciprocals(lists: tuple[Floats, ...]) -> Floats:
    return np.array([1 / (1 + int(np.argmax(row > 0))) for row in lists])


def average_precisions(ranked: Ranked | Sequence[ArrayLike], k: int | None = None) -> Floats:
    """Average precision of each query, shape `(q,)`; arguments as `mean_average_precision`."""
    out = []
    for row in _lists(ranked):
        places = np.flatnonzero(row[:k] > 0) + 1
        best = int((row > 0).sum()) if k is None else min(int((row > 0).sum()), _depth(k))
        out.append(float((np.arange(1, len(places) + 1) / places).sum() / best))
    return np.array(out)


def _ndcgs(lists: tuple[Floats, ...], k: int | None, gain: str) -> Floats:
    if gain not in ("linear", "exponential"):
        raise UsageError("unknown gain", item=gain, fix="use linear or exponential")
    out = []
    for row in lists:
        gains = row if gain == "linear" else np.exp2(row) - 1
        discount = 1 / np.log2(np.arange(2, len(gains) + 2))
        ideal = np.sort(gains)[::-1]
        out.append(float((gains * discount)[:k].sum() / (ideal * discount)[:k].sum()))
    return np.array(out)


@metric(
    "precision_at_k",
    definition="Share of relevant cases among the first k, mean over queries; fewer than k candidates still "
    "divide by k.",
    source="as trec_eval P_k",
    edge_cases=_EDGES,
)
def precision_at_k(ranked: Ranked | Sequence[ArrayLike], k: int = 10) -> float:
    """Precision at k.

    Args:
        ranked: Result of `rank`, or relevance lists, best candidate first.
        k: Depth.

    Returns:
        Mean over the queries.

    Raises:
        BadInputError: No query, a query without relevant candidate, or k below 1.
    """
    return float(_precisions(_lists(ranked), _depth(k)).mean())


@metric(
    "recall_at_k",
    definition="Share of a query's relevant candidates that are among the first k, mean over queries.",
    source="as trec_eval recall_k",
    edge_cases=_EDGES,
)
def recall_at_k(ranked: Ranked | Sequence[ArrayLike], k: int = 10) -> float:
    """Recall at k, arguments as `precision_at_k`."""
    return float(_recalls(_lists(ranked), _depth(k)).mean())


@metric(
    "hit_at_k",
    definition="Share of queries with at least one relevant case among the first k (image-text papers call this R@k).",
    source="Karpathy and Fei-Fei, CVPR 2015",
    edge_cases=_EDGES,
)
def hit_at_k(ranked: Ranked | Sequence[ArrayLike], k: int = 10) -> float:
    """Hit rate at k, arguments as `precision_at_k`."""
    return float(_hits(_lists(ranked), _depth(k)).mean())


@metric(
    "map",
    definition="Mean over queries of average precision: mean precision at the rank of each relevant candidate; "
    "with k, only ranks up to k, divided by min(k, relevant).",
    source="as trec_eval map",
    edge_cases=_EDGES,
)
def mean_average_precision(ranked: Ranked | Sequence[ArrayLike], k: int | None = None) -> float:
    """Mean average precision, arguments as `precision_at_k`; `k=None` for the whole ranking."""
    return float(average_precisions(ranked, k).mean())


@metric(
    "mrr",
    definition="Mean over queries of 1 / rank of the first relevant candidate.",
    source="Voorhees, TREC-8 1999",
    edge_cases=_EDGES,
)
def mean_reciprocal_rank(ranked: Ranked | Sequence[ArrayLike]) -> float:
    """Mean reciprocal rank, argument as `precision_at_k`."""
    return float(_reciprocals(_lists(ranked)).mean())


@metric(
    "ndcg",
    definition="Sum of gain / log2(rank + 1) over the first k, divided by that of the ideal order; gain = "
    "relevance, or "
    "2^relevance - 1 (exponential).",
    source="Järvelin and Kekäläinen, ACM TOIS 2002",
    edge_cases=_EDGES,
)
def ndcg(
    ranked: Ranked | Sequence[ArrayLike],
    k: int | None = None,
    gain: Literal["linear", "exponential"] = "linear",
) -> float:
    """Normalised discounted cumulative gain, arguments as `precision_at_k`."""
    return float(_ndcgs(_lists(ranked), None if k is None else _depth(k), gain).mean())


@dataclass(frozen=True)
class RetrievalReport:
    """Retrieval over a set of queries.

    Attributes:
        value: Metric name to mean over the queries, with its bootstrap interval (patients drawn whole).
        n: Queries measured.
        without: Queries left out for want of a relevant candidate.
        per_finding: Finding to its own report; relevance there is to share that finding.
    """

    value: dict[str, Measure]
    n: int
    without: int
    per_finding: dict[str, RetrievalReport]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "value": {name: measure.to_dict() for name, measure in self.value.items()},
            "n": self.n,
            "without": self.without,
            "per_finding": {name: report.to_dict() for name, report in self.per_finding.items()},
        }


def _report(
    ranked: Ranked, patients: NDArray[Any] | None, ks: Sequence[int], resamples: int, seed: int
) -> RetrievalReport:
    lists = ranked.relevance
    each: dict[str, Floats] = {"map": average_precisions(ranked), "mrr": _reciprocals(lists)}
    makers: list[tuple[str, Callable[[tuple[Floats, ...], int], Floats]]]
    makers = [("precision", _precisions), ("recall", _recalls), ("hit", _hits)]
    for k in ks:
        for name, maker in makers:
            each[f"{name}@{k}"] = maker(lists, _depth(k))
        each[f"ndcg@{k}"] = _ndcgs(lists, k, "linear")
    groups = None if patients is None else patients[ranked.query]
    measured = {}
    for name, values in each.items():
        if resamples:
            found: Measure = bootstrap_mean(values, resamples=resamples, seed=seed, groups=groups)
        else:
            found = Measure(float(values.mean()), n=len(ranked))
        measured[name] = found.named(name, higher_is_better=True)
    return RetrievalReport(measured, len(ranked), len(ranked.without), {})


def evaluate(
    similarity: ArrayLike,
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    query_patients: Sequence[Any] | None = None,
    gallery_patients: Sequence[Any] | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
    findings: Sequence[str] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> RetrievalReport:
    """All retrieval metrics with intervals, overall and for each finding.

    Args:
        similarity: See `rank`, as the next four.
        query_labels: Labels of the queries.
        gallery_labels: Labels of the gallery.
        query_patients: Patients of the queries.
        gallery_patients: Patients of the gallery.
        ks: Depths.
        findings: Names of the findings (columns), or of the classes to break down by; by default all that occur.
        resamples: Bootstrap resamples; 0 for no intervals.
        seed: Seed of the bootstrap.

    Returns:
        The report; a finding that no query can be measured for is absent from the breakdown.

    Raises:
        BadInputError: As `rank`.
    """
    mine, theirs = np.asarray(query_labels), np.asarray(gallery_labels)
    patients = None if query_patients is None else np.asarray(query_patients)
    scores = finite(similarity, "similarity", ndim=2)

    def measure(rows: NDArray[np.intp], ours: NDArray[Any], others: NDArray[Any]) -> RetrievalReport:
        some = None if patients is None else patients[rows]
        ranked = rank(scores[rows], ours, others, None if some is None else list(some), gallery_patients)
        return _report(ranked, some, ks, resamples, seed)

    whole = measure(np.arange(len(scores)), mine, theirs)
    if mine.ndim == 1:
        columns = {str(name): (mine == name, theirs == name) for name in (findings or np.unique(mine))}
    else:
        names = findings or [str(i) for i in range(mine.shape[1])]
        if len(names) != mine.shape[1]:
            raise BadInputError("inputs differ in length", why=f"{len(names)} names for {mine.shape[1]} findings")
        columns = {str(name): (mine[:, i] == 1, theirs[:, i] == 1) for i, name in enumerate(names)}
    parts: dict[str, RetrievalReport] = {}
    for name, (asked, held) in columns.items():
        rows = np.flatnonzero(asked)
        try:
            parts[name] = measure(rows, np.ones(len(rows), dtype=int), held.astype(int))
        except BadInputError:
            continue
    return RetrievalReport(whole.value, whole.n, whole.without, parts)
