"""Counter-based randomness: a stream that depends on its key alone, never on order or on who draws first."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["generator", "words16"]


def generator(*key: str | int) -> np.random.Generator:
    """A generator of its own for a key such as (seed, image, corruption, severity).

    The key is hashed into the 128-bit key of a Philox counter (Salmon et al., SC 2011), so two keys give independent
    streams and the same key gives the same stream in any process, on any platform.

    Args:
        key: Parts of the key; a number and its text form are different parts.
    """
    h = hashlib.blake2b(digest_size=16)
    for part in key:
        data = f"{type(part).__name__}:{part}".encode()
        h.update(len(data).to_bytes(4, "little"))
        h.update(data)
    return np.random.Generator(np.random.Philox(key=int.from_bytes(h.digest(), "little")))


def words16(rng: np.random.Generator, n: int) -> npt.NDArray[np.uint16]:
    """`n` uniform 16-bit words, cut from the raw 64-bit output (the fastest way to many small random numbers)."""
    raw = np.atleast_1d(rng.bit_generator.random_raw((n + 3) // 4))
    return raw.astype("<u8", copy=False).view("<u2")[:n].astype(np.uint16, copy=False)
