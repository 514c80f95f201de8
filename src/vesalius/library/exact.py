"""Exact nearest neighbours by inner product: one pass over memory-mapped segments, without a copy.

Measured with OpenBLAS's AVX-512 and Haswell kernels, 100,000 x 384, one thread: the BLAS product of a matrix and a
vector is bound by memory and takes half the time of a loop without BLAS; rows gathered into a block that stays in the
second-level cache cost as much for each as rows in place, up to about half of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from vesalius.library.results import FloatArray, IntArray

#: Queries that are multiplied at a time, which bounds memory.
QUERIES = 128
#: Queries up to which each is multiplied alone.
FEW = 3
#: Rows gathered at a time: about 400 kB at 384 numbers a row.
GATHERED = 256
#: Below this share of a segment, rows are gathered; above it, all are multiplied and the wanted scores picked out.
SPARSE = 0.45
#: Scores of which the largest stands for all in the first sieve, and candidates that are held before they are sorted.
GROUP, POOL = 64, 4_096


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
    best = [_Best(k) for _ in range(len(queries))]
    excluded = None if excluded is None or not len(excluded) else excluded
    for base, vectors in chunks:
        low = max(start - base, 0)
        if low >= len(vectors):
            continue
        part, base = vectors[low:] if low else vectors, base + low
        out = wanted = None
        if excluded is not None:
            out = _within(excluded, base, len(part))
        if allowed is not None:
            wanted = _within(allowed, base, len(part))
            wanted = wanted if out is None or not len(out) else wanted[~_in_sorted(wanted, out)]
            if not len(wanted):
                continue
        for first in range(0, len(queries), QUERIES):
            found = _products(queries[first : first + QUERIES], part, wanted)
            if wanted is None and out is not None:
                found[:, out] = -np.inf
            for q, new in enumerate(found, start=first):
                best[q].take(base, wanted, new)
    rows, scores = np.empty((len(best), k), np.int64), np.empty((len(best), k), np.float32)
    for q, kept in enumerate(best):
        rows[q], scores[q] = kept.sorted()
    return rows, scores


def _within(rows: IntArray, base: int, n: int) -> IntArray:
    """Which of the sorted rows lie in a piece, counted from its first."""
    low, high = np.searchsorted(rows, [base, base + n])
    return rows[low:high] - base


def shared(rows: IntArray, others: IntArray) -> int:
    """How many rows two sorted lists have in common."""
    return int(_in_sorted(others, rows).sum()) if len(rows) and len(others) else 0


def _in_sorted(rows: IntArray, among: IntArray) -> npt.NDArray[np.bool_]:
    """Which rows are among others; both are sorted, and `among` is not empty."""
    place = np.searchsorted(among, rows)
    found: npt.NDArray[np.bool_] = among[np.minimum(place, len(among) - 1)] == rows
    return found


def _products(queries: FloatArray, part: FloatArray, wanted: IntArray | None) -> FloatArray:
    """`(m, n)` inner products with all rows, or with the wanted ones."""
    if wanted is None or len(wanted) > SPARSE * len(part):
        out = np.empty((len(queries), len(part)), np.float32)
        _multiply(queries, part, out)
        return out if wanted is None else out[:, wanted]
    out = np.empty((len(queries), len(wanted)), np.float32)
    held = np.empty((min(GATHERED, len(wanted)), part.shape[1]), np.float32)
    for at in range(0, len(wanted), GATHERED):
        rows = wanted[at : at + GATHERED]
        # `clip` because numpy otherwise takes into a copy first; every row is known to be there.
        np.take(part, rows, axis=0, out=held[: len(rows)], mode="clip")
        _multiply(queries, held[: len(rows)], out[:, at : at + len(rows)])
    return out


def _multiply(queries: FloatArray, part: FloatArray, out: FloatArray) -> None:
    if len(queries) > FEW:
        np.matmul(queries, part.T, out=out)
        return
    for query, line in zip(queries, out, strict=True):
        np.dot(part, query, out=line)


class _Best:
    """The best rows of one query so far: everything that may be among them, put in order at the end."""

    def __init__(self, k: int) -> None:
        self.k, self.floor = k, -np.inf
        self.rows: list[IntArray] = []
        self.scores: list[FloatArray] = []
        self.held = 0

    def take(self, base: int, wanted: IntArray | None, new: FloatArray) -> None:
        """Sieve a piece's scores; pieces come in row order."""
        # The k-th largest of any part is a floor for all. By groups (every `groups`-th score belongs to one), the k-th
        # largest of their maxima is reached by at least k scores.
        k, groups = self.k, len(new) // GROUP
        tops = new[: groups * GROUP].reshape(GROUP, groups).max(axis=0) if groups >= 4 * k else new.copy()
        if len(tops) > k:
            tops.partition(len(tops) - k)
            self.floor = max(self.floor, float(tops[-k]))
        above = new >= self.floor if self.floor > -np.inf else new > -np.inf
        pick = above.nonzero()[0]
        if not len(pick):
            return
        self.rows.append((pick if wanted is None else wanted[pick]) + base)
        self.scores.append(new[pick])
        self.held += len(pick)
        if self.held > POOL + k:
            rows, scores = self._best()
            self.rows, self.scores, self.held = [rows], [scores], len(rows)

    def _best(self) -> tuple[IntArray, FloatArray]:
        if not self.rows:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        rows, scores = self.rows[0], self.scores[0]
        if len(self.rows) > 1:
            rows, scores = np.concatenate(self.rows), np.concatenate(self.scores)
        order = (-scores).argsort(kind="stable")[: self.k]
        return rows[order], scores[order]

    def sorted(self) -> tuple[IntArray, FloatArray]:
        """The best `k`, of equal scores the lower row first; row -1 and score -inf where there are fewer."""
        rows, scores = self._best()
        missing = self.k - len(rows)
        if missing:
            rows = np.concatenate([rows, np.full(missing, -1, np.int64)])
            scores = np.concatenate([scores, np.full(missing, -np.inf, np.float32)])
        return rows, scores
