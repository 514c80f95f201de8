"""How long a user of the shipped mask head waits: to encode a picture, and for every click after that."""

from __future__ import annotations

from typing import Any

import numpy as np

from perf.timing import once
from vesalius.cases import Image
from vesalius.models import load
from vesalius.models.protocols import Prompt

REPEATS = 15
#: Seconds that a user may wait.
ENCODE, CLICK = 1.0, 0.1


def segment() -> list[dict[str, Any]]:
    """Median and 95th percentile on a 2,000 x 2,000 film; the goal is a time, so `peer` is the time allowed."""
    rng = np.random.default_rng(0)
    film = Image(array=rng.integers(0, 4096, (2000, 2000), dtype=np.uint16), modality="DX")
    model = load("nano", device="cpu", can="segment")
    encoded = model.encode(film)
    prompt = Prompt(points=((700.0, 900.0, 1),))
    out = []
    for name, limit, call in (
        ("encode a 2000 x 2000 film", ENCODE, lambda: model.encode(film)),
        ("one click on it", CLICK, lambda: model.segment(encoded, prompt)),
    ):
        call()
        times = np.asarray([once(call) for _ in range(REPEATS)])
        median, slow = float(np.median(times)), float(np.quantile(times, 0.95))
        out.append({
            "name": f"{name} (95th percentile {slow * 1000:.0f} ms)", "ours": median, "peer": limit,
            "peer_name": "time allowed", "ratio": limit / median, "goal": 1.0, "n": 1, "repeats": REPEATS,
            "unit": "seconds",
        })  # fmt: skip
    return out


TOPICS = {"segment": segment}
