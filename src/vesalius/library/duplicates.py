"""Images that are alike beyond a threshold, in blocks so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vesalius.library.results import FloatArray, IntArray
from vesalius.library.store import Store, View

#: Rows on each side of a block of similarities (64 MB).
BLOCK = 4_096


def similar_pairs(store: Store, view: View, threshold: float) -> Iterator[tuple[int, int, float]]:
    """(row, later row, cosine) of all pairs of live rows at or above the threshold; n^2 dim / 2 multiplications."""
    live = np.setdiff1d(np.arange(view.rows, dtype=np.int64), view.dead)
    for low in range(0, len(live), BLOCK):
        left = live[low : low + BLOCK]
        a = store.gather(view, left)
        for high in range(low, len(live), BLOCK):
            right = live[high : high + BLOCK]
            b = a if high == low else store.gather(view, right)
            yield from _block(left, a, right, b, threshold)


def _block(
    left: IntArray, a: FloatArray, right: IntArray, b: FloatArray, threshold: float
) -> Iterator[tuple[int, int, float]]:
    scores = a @ b.T
    for i, j in zip(*np.nonzero(scores >= threshold), strict=True):
        if left[i] < right[j]:
            yield int(left[i]), int(right[j]), float(scores[i, j])


def groups(pairs: Iterator[tuple[int, int, float]]) -> list[tuple[list[int], float]]:
    """Rows joined transitively, with the lowest similarity that joined them (union-find)."""
    parent: dict[int, int] = {}
    lowest: dict[int, float] = {}

    def root(row: int) -> int:
        parent.setdefault(row, row)
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other, score in pairs:
        a, b = sorted((root(one), root(other)))
        low = min(lowest.pop(a, 1.0), lowest.pop(b, 1.0), score)
        parent[b] = a
        lowest[a] = low
    members: dict[int, list[int]] = {}
    for row in sorted(parent):
        members.setdefault(root(row), []).append(row)
    return [(rows, lowest[first]) for first, rows in sorted(members.items())]
