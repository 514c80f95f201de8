"""What a child process does with a hostile file: read, decode, show; tell in plain data how it went."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vesalius.errors import VesaliusError
from vesalius.io import Limits, read, read_pixels
from vesalius.job import Job
from vesalius.render import display

LIMITS = Limits(max_pixels=2**24, max_bytes=2**26, ratio_floor=2**20, max_files=2000, seconds=40, memory_bytes=2**30)


def examine(path: str) -> dict[str, list[str]]:
    """Names of what was refused and why, shapes of what was read, and all text that left the reader."""
    cases = read(Path(path), Job(workers=0), limits=LIMITS)
    out: dict[str, list[str]] = {"refused": [], "read": [], "text": []}
    for case in cases:
        out["text"].append(json.dumps(case.to_dict(), allow_nan=False))
        for image in case.images:
            try:
                array = read_pixels(image, LIMITS)
                shown = display.to_display(array, image)
                if shown.dtype != np.uint8 or shown.shape[:2] != array.shape[:2]:
                    raise AssertionError(f"display made {shown.dtype} {shown.shape} of {array.shape}")
                out["read"].append(f"{array.dtype} {array.shape}")
            except VesaliusError as error:
                out["refused"].append(f"{type(error).__name__}: {error}")
    out["refused"] += [f"{item}: {why}" for item, why in cases.refused]
    return out
