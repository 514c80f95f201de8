"""Pixel noise as a channel: the exact chance of each grey level out, given the grey level in.

Gaussian, speckle, shot and impulse noise and photon starvation all act on each pixel alone, and both sides are one of
256 levels. Such noise *is* a 256 x 256 matrix of transition chances: clipping and rounding are inside it, and it can
be tested without drawing a sample. Drawing from it takes one table look-up a pixel by Walker's alias method
(Walker, ACM TOMS 1977): 8 random bits choose a column, 8 more decide between the column and its alias, so chances are
resolved to 2^-16.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vesalius.corruptions.keys import words16

__all__ = ["apply_channel", "gaussian", "impulse", "low_dose", "shot", "speckle", "transition"]

U8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
LEVELS = np.arange(256, dtype=np.float64)


def gaussian(scale: float) -> Floats:
    """Additive normal noise of standard deviation `scale` (of the full range), clipped, then truncated to 8 bits."""
    return _normal(np.full(256, 255.0 * scale))


def speckle(scale: float) -> Floats:
    """Multiplicative normal noise: x + x n with n of standard deviation `scale`, clipped and truncated."""
    return _normal(LEVELS * scale)


def shot(photons: float) -> Floats:
    """Poisson noise: Poisson(x m) / m with `photons` m at full white, clipped at 1 and truncated."""
    from scipy.special import gammaln, pdtrc

    limit = int(np.ceil(photons))
    counts = np.arange(limit, dtype=np.float64)
    mean = (LEVELS / 255.0 * photons)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = np.where(
            mean > 0, counts * np.log(mean) - mean - gammaln(counts + 1), np.where(counts == 0, 0, -np.inf)
        )
    level = (counts / photons * 255.0).astype(np.intp)
    out = np.zeros((256, 256))
    np.add.at(out.T, level, np.exp(log_p).T)
    # `limit` photons or more are white.
    out[:, 255] += np.where(mean[:, 0] > 0, pdtrc(limit - 1, np.maximum(mean[:, 0], 1e-300)), 0.0)
    return out


def impulse(amount: float) -> Floats:
    """Salt and pepper: with chance `amount` a value becomes black or white, each as often."""
    out = np.eye(256) * (1.0 - amount)
    out[:, 0] += amount / 2
    out[:, 255] += amount / 2
    return out


def low_dose(photons: float, attenuation: float = 4.0) -> Floats:
    """Quantum noise of an X-ray taken with `photons` per pixel in the open beam.

    Bright means dense: a value x lets through a share exp(-k x), the detector counts Poisson(N exp(-k x)), and the
    count is turned back into attenuation. Dense places therefore drown first, as on a real underexposed film.

    Args:
        photons: Count N at a pixel of value 0.
        attenuation: k, the attenuation (in nepers) that full white stands for.
    """
    from scipy.special import pdtr

    mean = photons * np.exp(-attenuation * LEVELS / 255.0)
    # Level o is read for counts in (N exp(-k (o + 1/2) / 255), N exp(-k (o - 1/2) / 255)].
    edges = np.floor(photons * np.exp(-attenuation * (LEVELS[:-1] + 0.5) / 255.0))
    below = pdtr(edges[None, :], mean[:, None])
    ones, zeros = np.ones((256, 1)), np.zeros((256, 1))
    cumulative = np.concatenate([ones, below, zeros], axis=1)
    matrix: Floats = np.maximum(cumulative[:, :-1] - cumulative[:, 1:], 0.0)
    return matrix


_KINDS = {"gaussian_noise": gaussian, "speckle_noise": speckle, "shot_noise": shot, "impulse_noise": impulse,
          "low_dose": low_dose}  # fmt: skip


@lru_cache(maxsize=512)
def transition(name: str, parameter: float) -> Floats:
    """The matrix of a named noise: row = grey level in, column = grey level out; rows sum to 1."""
    matrix: Floats = _KINDS[name](parameter)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.flags.writeable = False
    return matrix


def apply_channel(image: U8, name: str, parameter: float, rng: np.random.Generator) -> U8:
    """Send every value of an image of any shape through the channel."""
    table = _alias_table(name, float(parameter))
    flat = image.reshape(-1)
    word = words16(rng, flat.size)
    column = word.astype(np.uint8)
    index = flat.astype(np.uint16)
    index <<= 8
    index |= column
    entry = table.take(index)
    alias = entry.astype(np.uint8)
    word >>= 8
    entry >>= 8
    take_alias = (word >= entry).view(np.uint8)
    # A branch-free choice: column where take_alias is 0, alias where it is 1.
    alias ^= column
    alias *= take_alias
    alias ^= column
    return alias.reshape(image.shape)


def _normal(scale: Floats) -> Floats:
    from scipy.special import ndtr

    safe = np.where(scale > 0, scale, 1.0)[:, None]
    below = ndtr((np.arange(1, 256)[None, :] - LEVELS[:, None]) / safe)
    cumulative = np.concatenate([np.zeros((256, 1)), below, np.ones((256, 1))], axis=1)
    return np.where(scale[:, None] > 0, np.diff(cumulative, axis=1), np.eye(256))


@lru_cache(maxsize=512)
def _alias_table(name: str, parameter: float) -> npt.NDArray[np.uint16]:
    """`(65536,)`: entry `in * 256 + column` holds (share kept by the column, of 256) << 8 | alias."""
    left = transition(name, parameter) * 256.0
    rows = np.arange(256)
    keep = np.full((256, 256), 256.0)
    alias = np.tile(np.arange(256), (256, 1))
    waiting = left.copy()  # columns not settled yet; settled ones are set to infinity
    for _ in range(255):
        small = waiting.argmin(axis=1)
        large = np.where(np.isinf(waiting), -1.0, waiting).argmax(axis=1)
        p = waiting[rows, small]
        keep[rows, small] = np.minimum(p, 1.0) * 256.0
        alias[rows, small] = large
        waiting[rows, large] -= np.where(small == large, 0.0, 1.0 - np.minimum(p, 1.0))
        waiting[rows, small] = np.inf
    share = np.rint(keep).astype(np.int64)
    alias = np.where(share >= 256, np.arange(256)[None, :], alias)
    table: npt.NDArray[np.uint16] = (np.minimum(share, 255) << 8 | alias).astype(np.uint16).reshape(-1)
    table.flags.writeable = False
    return table
