"""Random streams keyed by what they are for, so that no draw depends on another or on the number of workers."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *tags: str | int) -> np.random.Generator:
    """A Philox generator for one purpose.

    Args:
        seed: The configuration's seed.
        tags: What the stream is for (words and numbers); other tags give an independent stream.

    Example:
        >>> bool(stream(1, "a", 2).random() == stream(1, "a", 2).random())
        True
    """
    words = [zlib.crc32(t.encode()) if isinstance(t, str) else t for t in tags]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))
