"""From attenuation along rays to a displayed film: exposure, scatter, quantum noise, logarithm, tone curve."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.sources.phantom.model import Array, Device

#: Linear attenuation per mm near 60 keV (water 0.0206; NIST XCOM), lung at a quarter of water.
MU = {"soft": 0.0202, "lung": 0.0046, "cortex": 0.046, "spongy": 0.0275}


def expose(path: Array, rng: np.random.Generator, noise: float, step: float) -> Array:
    """Detector reading for attenuation path lengths (a sum of mu times mm): Beer-Lambert, scatter, quanta.

    Args:
        path: `(H, W)` line integrals.
        rng: For the quanta.
        noise: Factor on the noise's standard deviation.
        step: Pixel size in mm.

    Returns:
        Minus the logarithm of the relative dose.
    """
    primary = np.exp(-path)
    coarse = primary[:: max(1, path.shape[0] // 64), :: max(1, path.shape[1] // 64)]
    blur = gaussian_filter(coarse, 5.0, mode="nearest")
    # Behind an anti-scatter grid about as much scatter as a third of the mean primary is left.
    k = (path.shape[0] + blur.shape[0] - 1) // blur.shape[0]
    spread = np.kron(blur, np.ones((k, k), np.float32))[: path.shape[0], : path.shape[1]]
    if k > 1:
        spread = gaussian_filter(spread, k * 0.8, mode="nearest")
    total = primary + np.float32(0.22) * spread
    quanta = np.float32(5e5 * step * step / 9)
    total = total + rng.standard_normal(path.shape, dtype=np.float32) * (np.sqrt(total / quanta) * np.float32(noise))
    return np.asarray(-np.log(np.maximum(total, 1e-6)))


def display(
    reading: Array, device: Device, rng: np.random.Generator, floor: float = 0.01, ceiling: float = 0.985
) -> Array:
    """Tone curve of a digital film: detail raised, window from the reading's own quantiles, dense tissue white.

    `floor` and `ceiling` are the quantiles of the middle of the film that are shown dark grey and white.
    """
    n = reading.shape[0]
    k = max(1, n // 64)
    small = gaussian_filter(reading[::k, ::k], 7.0, mode="nearest")
    wide = np.kron(small, np.ones((k, k), np.float32))[:n, :n]
    if k > 1:
        wide = gaussian_filter(wide, k, mode="nearest")
    if wide.shape != reading.shape:
        wide = np.pad(wide, ((0, n - wide.shape[0]), (0, reading.shape[1] - wide.shape[1])), mode="edge")
    flat = reading - np.float32(0.38) * wide
    if device.blur > 0:
        flat = gaussian_filter(flat, device.blur * n / 256)
    inside = flat[n // 6 : -n // 6, n // 6 : -n // 6]
    low, high = np.quantile(inside[::2, ::2], (floor, ceiling))
    low -= 0.28 * (high - low)
    value = np.clip((flat - low) / (high - low + 1e-6) * device.gain, 0, 1.2) ** np.float32(
        device.gamma * rng.uniform(0.95, 1.25)
    )
    # A soft shoulder instead of hard white.
    value = np.where(value > 0.8, 0.8 + 0.2 * np.tanh((value - 0.8) / 0.2), value)
    return np.asarray((np.clip(value, 0, 1) * 250 + 2).astype(np.uint8))
