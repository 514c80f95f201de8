"""How many phantom cases a second: drawn, annotated, with report and questions."""

from __future__ import annotations

import time
from typing import Any

from vesalius.sources.phantom import Phantom, PhantomConfig

WORKERS = 2


def _rate(study: str, goal: float, n: int, repeats: int, **fields: Any) -> dict[str, Any]:
    """Best rate over `repeats` streams from worker processes; the first fifth (start-up, shared trees) is not timed."""
    config = PhantomConfig(seed=1, studies={study: 1.0}, **fields)
    rates = []
    for _ in range(repeats):
        stream = iter(Phantom(config).cases(n + n // 4, WORKERS))
        for _ in range(n // 4):
            next(stream)
        start = time.perf_counter()
        seen = sum(1 for _ in stream)
        rates.append(seen / (time.perf_counter() - start))
    ours = max(rates)
    return {
        "name": f"phantom {study}",
        "ours": ours,
        "peer": None,
        "ratio": ours / goal,
        "goal": goal,
        "n": n,
        "repeats": repeats,
        "unit": f"cases/s, {WORKERS} workers",
    }


def chest_films() -> list[dict[str, Any]]:
    """Chest films of 128 px."""
    return [_rate("chest_film", 60.0, 240, 2, size=128)]


def ct_volumes() -> list[dict[str, Any]]:
    """CT volumes of 64 voxels cubed."""
    return [_rate("ct", 8.0, 40, 2, size_3d=64)]


TOPICS = {"phantom-chest": chest_films, "phantom-ct": ct_volumes}

if __name__ == "__main__":
    for topic in TOPICS.values():
        print(topic())
