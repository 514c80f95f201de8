"""The dials that act on finished pictures: devices, known degradations, the planted shortcut, simulated readers."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter1d

from vesalius.cases import Box
from vesalius.sources.phantom.config import Reader, Shortcut
from vesalius.sources.phantom.model import Array, Device
from vesalius.sources.phantom.paint import smooth

#: Known degradations; the grade runs from 1 (mild) to 3 (severe), 0 means none.
DEGRADATIONS = ("noise", "blur", "motion", "low contrast", "overexposure", "banding")


def span(array: Array) -> tuple[float, float]:
    """The range of values that a picture of this kind uses: whole range of bytes, else the data's own."""
    if array.dtype == np.uint8:
        return 0.0, 255.0
    return float(array.min()), float(array.max())


def _back(values: Array, like: Array, low: float, high: float) -> Array:
    out = np.clip(values, 0, 1) * (high - low) + low
    return np.asarray(np.rint(out).astype(like.dtype) if like.dtype.kind in "iu" else out.astype(like.dtype))


def apply_device(array: Array, device: Device) -> Array:
    """Tone, tint and sharpness of a site's machine, for pictures whose drawing does not model it itself."""
    low, high = span(array)
    v = (array.astype(np.float32) - low) / max(high - low, 1e-6)
    colour = v.shape[-1] == 3
    if device.blur > 0:
        axes = (v.ndim - 3, v.ndim - 2) if colour else (v.ndim - 2, v.ndim - 1)
        s = device.blur * v.shape[axes[0]] / 256
        v = gaussian_filter(v, [s if axis in axes else 0 for axis in range(v.ndim)])
    v = np.clip(v * device.gain, 0, 1) ** np.float32(device.gamma)
    if colour:
        v = v * np.asarray(device.tint, np.float32)
    return _back(v, array, low, high)


def degrade(array: Array, kind: str, grade: int, rng: np.random.Generator, *, colour: bool) -> Array:
    """One known degradation of one grade.

    Args:
        array: A picture `(..., H, W[, 3])`.
        kind: One of `DEGRADATIONS`.
        grade: 1 to 3.
        rng: For noise and direction.
        colour: The last axis holds colours.
    """
    low, high = span(array)
    v = (array.astype(np.float32) - low) / max(high - low, 1e-6)
    w_axis = v.ndim - (2 if colour else 1)
    h_axis = w_axis - 1
    n = v.shape[w_axis]
    if kind == "noise":
        v = v + rng.standard_normal(v.shape, dtype=np.float32) * np.float32((0.05, 0.10, 0.18)[grade - 1])
    elif kind == "blur":
        sigma = [0.0] * v.ndim
        # Small pictures too must be blurred by something that shows.
        sigma[h_axis] = sigma[w_axis] = max(0.5 * grade, (0.008, 0.014, 0.024)[grade - 1] * n)
        v = gaussian_filter(v, sigma)
    elif kind == "motion":
        reach = max(2, int((0.035, 0.065, 0.12)[grade - 1] * n))
        v = uniform_filter1d(v, reach, axis=int((h_axis, w_axis)[int(rng.integers(2))]))
    elif kind == "low contrast":
        v = v.mean() + (v - v.mean()) * np.float32((0.55, 0.35, 0.2)[grade - 1])
    elif kind == "overexposure":
        v = v * np.float32((1.35, 1.7, 2.3)[grade - 1]) + np.float32(0.05 * grade)
    elif kind == "banding":
        wave = np.sin(np.arange(v.shape[h_axis]) * (2 * np.pi / max(4.0, n / 14)))
        shape = [1] * v.ndim
        shape[h_axis] = -1
        v = v + wave.reshape(shape).astype(np.float32) * np.float32((0.05, 0.10, 0.18)[grade - 1])
    return _back(v, array, low, high)


_P = np.asarray([[1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]], bool)


def plant(array: Array, kind: str, *, colour: bool) -> tuple[Array, Box]:
    """Draw a shortcut; returns the new picture and the box that holds the mark."""
    a = array.copy()
    top = 255 if a.dtype == np.uint8 else a.max()
    h, w = (a.shape[-3], a.shape[-2]) if colour else (a.shape[-2], a.shape[-1])
    view = a if colour else a[..., None]
    if kind == "marker":
        k = max(3, round(0.07 * h))
        y0, x0 = round(0.03 * h), round(0.03 * w)
        view[..., y0 : y0 + k, x0 : x0 + k, :] = top
        box = Box(x0, y0, x0 + k, y0 + k)
    elif kind == "token":
        k = max(1, round(h / 48))
        glyph = np.kron(_P, np.ones((k, k), bool))
        y0, x0 = h - glyph.shape[0] - round(0.04 * h), round(0.04 * w)
        part = view[..., y0 : y0 + glyph.shape[0], x0 : x0 + glyph.shape[1], :]
        part[..., glyph, :] = top
        box = Box(x0, y0, x0 + glyph.shape[1], y0 + glyph.shape[0])
    elif kind == "border":
        k = max(2, round(0.03 * h))
        for part in (view[..., :k, :, :], view[..., -k:, :, :], view[..., :, :k, :], view[..., :, -k:, :]):
            part[...] = top
        box = Box(0, 0, w, h)
    else:  # tube
        y = np.arange(h)
        x = w * (0.62 - 0.10 * np.sin(y / h * 2.4))
        thick = max(1.0, w / 90)
        line = (np.abs(np.arange(w)[None, :] - x[:, None]) < thick) & (y[:, None] < 0.72 * h)
        view[..., line, :] = top
        cols = line.any(0).nonzero()[0]
        rows = line.any(1).nonzero()[0]
        box = Box(float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1))
    return a, box


def shortcut_here(shortcut: Shortcut, present: bool, u: float) -> bool:
    """Whether the mark is drawn, for a uniform draw `u`."""
    rate = (1 + shortcut.correlation) / 2 if present else (1 - shortcut.correlation) / 2
    return u < rate


def read_mask(mask: Array, reader: Reader, rng: np.random.Generator) -> Array | None:
    """What a reader draws for a true mask: None when missed, else an outline that wobbles and is biased."""
    if rng.random() > reader.skill or not mask.any():
        return None
    scale = mask.shape[-1] / 128
    pad = [(1, 1)] * mask.ndim
    padded = np.pad(mask, pad)
    signed = distance_transform_edt(padded) - distance_transform_edt(~padded)
    signed = signed[tuple(slice(1, -1) for _ in range(mask.ndim))]
    wave = smooth(rng, mask.shape, 9)
    drawn = signed + reader.bias * scale + wave * (1 - reader.skill) * 6 * scale > 0
    return drawn if drawn.any() else None
