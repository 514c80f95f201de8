"""Giving back the room of dead rows: live rows are copied to new segment files, then one commit switches over.

Memory is bounded by one block. Killed before the commit, the new files are strays that the next writer removes; killed
after it, the old ones are.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Callable

import numpy as np

from vesalius.library import catalogue
from vesalius.library.results import IntArray
from vesalius.library.segments import Segment, SegmentFiles

#: Rows that are in memory at a time.
BLOCK = 8_192

Transaction = Callable[[str], contextlib.AbstractContextManager[sqlite3.Connection]]


def compact(files: SegmentFiles, transaction: Transaction) -> int:
    """Rewrite the segments from the first dead row on and renumber the rows; returns how many dead rows there were."""
    with transaction("") as connection:
        segments = catalogue.segments(connection)
        dead = np.fromiter((r for (r,) in connection.execute("SELECT row FROM tombstones ORDER BY row")), np.int64)
        (next_pk,) = connection.execute(
            "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'segments'"
        ).fetchone()
    if len(dead) == 0:
        return 0
    untouched = [s for s in segments if s.base + s.rows <= dead[0]]
    old = segments[len(untouched) :]
    made = _copy(files, old, dead, old[0].base, next_pk)
    with transaction("IMMEDIATE") as connection:
        connection.execute("DELETE FROM segments WHERE base >= ?", (old[0].base,))
        catalogue.set_segments(connection, made)
        _renumber(connection, dead)
        connection.execute("DELETE FROM tombstones")
        connection.execute("DELETE FROM ivf")
        catalogue.bump(connection)
    return len(dead)


def _copy(files: SegmentFiles, old: list[Segment], dead: IntArray, base: int, next_pk: int) -> list[Segment]:
    made: list[Segment] = []
    last = Segment(next_pk, base, 0)
    next_pk += 1
    for segment in old:
        vectors = files.array(segment)
        for at in range(0, segment.rows, BLOCK):
            rows = np.arange(segment.base + at, segment.base + min(at + BLOCK, segment.rows))
            live = rows[~np.isin(rows, dead)]
            if len(live) == 0:
                continue
            for touched in files.append(last, vectors[live - segment.base], next_pk):
                made = [s for s in made if s.pk != touched.pk] + [touched]
            last = made[-1]
            next_pk = max(next_pk, last.pk + 1)
    return made


def _renumber(connection: sqlite3.Connection, dead: IntArray) -> None:
    """Close the gaps, lowest rows first, so that no two images ever share a number."""
    bounds = [*dead.tolist(), 2**62]
    for shift, (low, high) in enumerate(itertools.pairwise(bounds), start=1):
        # By way of negative numbers: an UPDATE checks uniqueness row by row, in an order that SQLite is free to choose.
        connection.execute("UPDATE images SET row = -1 - (row - ?) WHERE row > ? AND row < ?", (shift, low, high))
    connection.execute("UPDATE images SET row = -1 - row WHERE row < 0")
