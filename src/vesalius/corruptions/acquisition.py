"""Faults of acquisition and display: window error, MONOCHROME flip, metal, motion, bias field, ghosting.

(Low dose is a noise channel, see `channel.low_dose`.) These act on displayed 8-bit values; they imitate what the
fault looks like, they are no simulation of a scanner.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vesalius.corruptions.tone import look_up

__all__ = ["bias_field", "ghosting", "metal", "monochrome_flip", "motion", "window_error"]

U8 = npt.NDArray[np.uint8]


def window_error(image: U8, shift: float, width: float, rng: np.random.Generator) -> U8:
    """A wrong display window: centre off by +-`shift` of the range, width multiplied by `width` (below 1 is harder)."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    x = np.arange(256) / 255.0
    y = (x - (0.5 + sign * shift)) / width + 0.5
    return look_up(image, np.rint(np.clip(y, 0, 1) * 255).astype(np.uint8))


def monochrome_flip(image: U8) -> U8:
    """Black and white exchanged, as when MONOCHROME1 is read as MONOCHROME2; has no degrees."""
    return np.asarray(255 - image, dtype=np.uint8)


def metal(image: U8, objects: int, strength: float, rng: np.random.Generator, scale: float) -> U8:
    """Saturated discs with light and dark streaks that fade with distance, as a metal implant leaves in CT."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    out = image.astype(np.float32)
    for _ in range(int(objects)):
        cx, cy = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.75) * height
        r = rng.uniform(2.5, 6.0) * scale
        distance = np.hypot(x - cx, y - cy).astype(np.float32)
        angle = np.arctan2(y - cy, x - cx)
        # A random profile over direction, the same on both sides of the object as a projection line is.
        profile = np.convolve(np.tile(rng.normal(size=90), 3), [0.25, 0.5, 0.25], "same")[90:180]
        profile = (profile - profile.mean()) / profile.std()
        turn = (angle % np.pi) / np.pi * 90
        low = np.floor(turn).astype(np.intp)
        streak = profile[low % 90] * (1 - (turn - low)) + profile[(low + 1) % 90] * (turn - low)
        reach = 60.0 * scale
        out += (255.0 * strength * 0.5 * streak * reach / (reach + distance))[:, :, None].astype(np.float32)
        out[distance <= r] = 255.0
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


def motion(image: U8, shift: float, share: float, rng: np.random.Generator, scale: float) -> U8:
    """The patient moves while k-space is filled: a `share` of its lines come from up to `2 shift` px off."""
    height, width = image.shape[:2]
    lines = np.zeros(height)
    moved = 0
    while moved < max(int(share * height), 1):  # a few moves, each held for a run of lines
        n = int(rng.integers(max(height // 40, 1), max(height // 12, 2) + 1))
        start = int(rng.integers(0, height))
        where = (start + np.arange(n)) % height
        # The centre of k-space (line 0) holds the mean: a scanner would reject a scan that moved there.
        where = where[np.minimum(where, height - where) > max(height // 50, 1)]
        lines[where] = rng.uniform(-1, 1) * shift * max(scale, 1e-3) * 2
        moved += n
    sideways = rng.uniform(-0.5, 0.5)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    phase = np.exp(-2j * np.pi * lines[:, None] * (fy + sideways * fx))
    return _k_space(image, phase)


def ghosting(image: U8, every: float, strength: float, rng: np.random.Generator) -> U8:
    """Every n-th phase line of k-space is weakened by `strength`: fainter copies along the phase axis."""
    height = image.shape[0]
    n = max(int(every), 2)
    keep = np.ones(height)
    keep[int(rng.integers(0, n)) :: n] -= strength
    keep[0] = 1.0  # the mean grey level stays
    return _k_space(image, keep[:, None])


def bias_field(image: U8, strength: float, rng: np.random.Generator) -> U8:
    """A smooth multiplicative shading between exp(-strength) and exp(strength), a random cubic over the image."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height)[:, None] if height > 1 else np.zeros((1, 1))
    x = np.linspace(-1, 1, width)[None, :] if width > 1 else np.zeros((1, 1))
    field = np.zeros((height, width))
    for i in range(4):
        for j in range(4 - i):
            if i + j:
                field = field + rng.normal() * y**i * x**j
    field -= field.mean()
    peak = np.abs(field).max()
    gain = np.exp(strength * field / peak) if peak > 0 else np.ones_like(field)
    return np.clip(np.rint(image * gain[:, :, None].astype(np.float32)), 0, 255).astype(np.uint8)


def _k_space(image: U8, change: npt.NDArray[np.generic]) -> U8:
    """Multiply the spectrum of each channel (real images have a half spectrum) and take the magnitude."""
    from scipy import fft

    planes = np.moveaxis(image, 2, 0).astype(np.float32)
    spectrum = fft.rfft2(planes)
    spectrum *= change[None].astype(np.complex64)
    back = fft.irfft2(spectrum, s=image.shape[:2])
    return np.ascontiguousarray(np.moveaxis(np.clip(np.rint(np.abs(back)), 0, 255), 0, 2)).astype(np.uint8)
