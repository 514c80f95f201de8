"""Exact nearest neighbours by inner product: one pass over memory-mapped segments, without a copy."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vesalius.library.results import FloatArray, IntArray

#: Queries and gathered rows that are multiplied at a time, which bounds memory.
QUERIES, GATHERED = 128, 32_768
#: Queries up to which products are formed row by row.
FEW = 4
#: Below this share of a segment, rows are gathered; above it, all are multiplied and the others masked.
SPARSE = 0.25


def scan(
    chunks: Iterable[tuple[int, FloatArray]],
    queries: FloatArray,
    k: int,
    *,
    allowed: IntArray | None = None,
    excluded: IntArray | None = None,
    start: int = 0,
) -> tuple[IntArray, FloatArray]:
    """The `k` rows with the largest inner product for each query; ties go to the lower row.

    Args:
        chunks: (first row, `(n, dim)`) pieces of the library in row order.
        queries: `(m, dim)`.
        k: How many.
        allowed: Only these rows (sorted); None allows all.
        excluded: Never these rows (sorted).
        start: Skip rows below.

    Returns:
        Rows and scores, each `(m, k)`, best first; row -1 and score -inf where there are fewer than `k`.
    """
    m = len(queries)
    rows = np.full((m, k), -1, np.int64)
    scores = np.full((m, k), -np.inf, np.float32)
    for base, vectors in chunks:
        for at, wanted in _pieces(base, len(vectors), start, allowed):
            part = vectors if wanted is None else vectors[wanted - base]
            here = np.arange(base, base + len(vectors)) if wanted is None else wanted
            masked = _masked(here, at, base, allowed, excluded) if wanted is None else _inside(wanted, excluded)
            for low in range(0, m, QUERIES):
                block = slice(low, low + QUERIES)
                found = _products(queries[block], part)
                if masked is not None:
                    found[:, masked] = -np.inf
                rows[block], scores[block] = _merge(rows[block], scores[block], here, found, k)
    return rows, scores


def _products(queries: FloatArray, part: FloatArray) -> FloatArray:
    """`(m, n)` inner products; for few queries row by row, which streams memory twice as fast as BLAS's gemv."""
    if len(queries) > FEW:
        return queries @ part.T
    out = np.empty((len(queries), len(part)), np.float32)
    for query, line in zip(queries, out, strict=True):
        np.einsum("ij,j->i", part, query, out=line)
    return out


def _pieces(base: int, n: int, start: int, allowed: IntArray | None) -> Iterable[tuple[int, IntArray | None]]:
    """(first wanted row, rows to gather or None for the whole segment)."""
    if base + n <= start:
        return
    if allowed is None:
        yield max(base, start), None
        return
    low, high = np.searchsorted(allowed, [max(base, start), base + n])
    if high - low > SPARSE * n:
        yield max(base, start), None
        return
    for at in range(low, high, GATHERED):
        yield base, allowed[at : min(at + GATHERED, high)]


def _masked(
    here: IntArray, at: int, base: int, allowed: IntArray | None, excluded: IntArray | None
) -> npt.NDArray[np.bool_] | None:
    """Columns of a whole segment that do not count; None when all do."""
    bounds = [base, base + len(here)]
    low, high = (0, 0) if excluded is None else np.searchsorted(excluded, bounds)
    if at == base and allowed is None and low == high:
        return None
    mask = np.zeros(len(here), np.bool_)
    if allowed is not None:
        first, last = np.searchsorted(allowed, bounds)
        mask[:] = True
        mask[allowed[first:last] - base] = False
    mask[: at - base] = True
    if excluded is not None:
        mask[excluded[low:high] - base] = True
    return mask


def _inside(here: IntArray, excluded: IntArray | None) -> npt.NDArray[np.bool_] | None:
    """Which of the sorted rows `here` are excluded; None when none is."""
    if excluded is None or len(excluded) == 0 or len(here) == 0:
        return None
    low, high = np.searchsorted(excluded, [here[0], here[-1] + 1])
    return np.isin(here, excluded[low:high]) if high > low else None


def _merge(
    rows: IntArray, scores: FloatArray, here: IntArray, found: FloatArray, k: int
) -> tuple[IntArray, FloatArray]:
    """The best `k` of those so far and a segment's."""
    out_rows, out_scores = rows.copy(), scores.copy()
    for q in range(len(rows)):
        new = found[q]
        # Only what reaches the worst kept so far can enter; in the first segment nearly nothing is kept out by it.
        if len(new) > k:
            floor = max(float(scores[q, -1]), float(np.partition(new, len(new) - k)[len(new) - k]))
            pick = np.flatnonzero(new >= floor)
        else:
            pick = np.arange(len(new))
        all_rows = np.concatenate([rows[q], here[pick]])
        all_scores = np.concatenate([scores[q], new[pick]])
        order = np.lexsort((all_rows, -all_scores))[:k]
        out_rows[q], out_scores[q] = all_rows[order], all_scores[order]
    out_rows[np.isneginf(out_scores)] = -1
    return out_rows, out_scores
