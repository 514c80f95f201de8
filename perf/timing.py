"""Time two implementations side by side: interleaved runs, medians, the median of the paired ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["once", "paired", "row"]


def once(function: Callable[[], Any]) -> float:
    """Seconds of wall clock that one call of `function` takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(
    ours: Callable[[], Any], peer: Callable[[], Any], repeats: int = 5, warmup: int = 1
) -> tuple[float, float, float]:
    """Compare two callables under the same load.

    The runs alternate, and the order within a pair alternates too, so that a slow stretch of a shared machine
    falls on both. The ratio is taken within each pair before the median, which cancels what slowed the pair as a whole.

    Args:
        ours: The implementation under test; takes no arguments.
        peer: What it is compared with.
        repeats: Timed pairs, at least one.
        warmup: Untimed pairs before them (imports, caches).

    Returns:
        `(median seconds of ours, median seconds of peer, median of peer/ours)`: a ratio above one means ours is faster.

    Raises:
        ValueError: `repeats` is below one.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    for _ in range(warmup):
        ours()
        peer()
    mine: list[float] = []
    theirs: list[float] = []
    for index in range(repeats):
        if index % 2 == 0:
            mine.append(once(ours))
            theirs.append(once(peer))
        else:
            theirs.append(once(peer))
            mine.append(once(ours))
    ratios = [b / max(a, 1e-9) for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(mine), statistics.median(theirs), statistics.median(ratios)


def row(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    *,
    peer_name: str = "",
    goal: float | None = None,
    n: int = 1,
    repeats: int = 5,
    warmup: int = 1,
) -> dict[str, Any]:
    """One line of the performance table: `paired` with its labels.

    Args:
        name: What is measured.
        ours: The implementation under test.
        peer: The implementation it is compared with.
        peer_name: Whose it is, for the reader.
        goal: The ratio peer/ours aimed at, if one was set.
        n: Size of the problem (items, voxels, samples).
        repeats: Timed pairs.
        warmup: Untimed pairs.

    Returns:
        A dictionary with keys `name, ours, peer, ratio, goal, n, repeats, unit, peer_name`.
    """
    ours_median, peer_median, ratio = paired(ours, peer, repeats, warmup)
    return {
        "name": name,
        "ours": ours_median,
        "peer": peer_median,
        "ratio": ratio,
        "goal": goal,
        "n": n,
        "repeats": repeats,
        "unit": "seconds",
        "peer_name": peer_name,
    }
