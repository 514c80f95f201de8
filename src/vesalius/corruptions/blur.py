"""Blurs: Gaussian, defocus, motion, zoom. Images are `(H, W, C)` uint8; lengths are in pixels of this image."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.corruptions.pillow import BILINEAR, from_pillow, to_pillow

__all__ = ["defocus_blur", "gaussian_blur", "motion_blur", "zoom_blur"]

U8 = npt.NDArray[np.uint8]
AnyArray = npt.NDArray[Any]


def gaussian_blur(image: U8, kernel: int) -> U8:
    """Gaussian blur with an odd kernel; sigma = 0.3 ((kernel - 1) / 2 - 1) + 0.8, edges mirrored, result rounded."""
    if kernel < 3:
        return image.copy()
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
    weight = np.exp(-0.5 * (np.arange(kernel // 2 + 1) / sigma) ** 2)
    weight /= 2 * weight.sum() - weight[0]
    out = _symmetric(image.astype(np.float32), weight)
    out += 0.5
    return out.astype(np.uint8)


def defocus_blur(image: U8, radius: float, alias: float) -> U8:
    """Mean over a disk, the disk's rim softened by a small Gaussian of width `alias`; edges mirrored, truncated.

    The disk is summed exactly in integers: each row of it is a box, and the box of one row is that of a narrower row
    plus two more columns, so the number of additions grows with the radius and not with the area.
    """
    if radius < 0.5 and alias <= 0.25:
        return image.copy()
    half = [int(math.sqrt(radius * radius - dy * dy)) for dy in range(int(radius) + 1)]
    taps = 2 * sum(2 * w + 1 for w in half) - (2 * half[0] + 1)
    dtype = np.uint16 if taps * 255 < 2**16 else np.uint32
    height, width, channels = image.shape
    pad = half[0]
    source = _pad(image, pad, "reflect").astype(dtype)
    rows, columns = height + 2 * pad, width * channels
    flat = source.reshape(rows, -1)

    def shifted(dx: int) -> AnyArray:
        start = (pad + dx) * channels
        return flat[:, start : start + columns]

    box = shifted(0).copy()
    total = np.zeros((height, columns), dtype=dtype)
    w = 0
    for dy in range(len(half) - 1, -1, -1):  # narrow rows first
        while w < half[dy]:
            w += 1
            box += shifted(w)
            box += shifted(-w)
        total += box[pad + dy : pad + dy + height]
        if dy:
            total += box[pad - dy : pad - dy + height]
    rim = math.exp(-0.5 / (alias * alias)) if alias > 0 else 0.0
    if rim < 1e-4:
        mean: U8 = (total // dtype(taps)).astype(np.uint8)
        return mean.reshape(image.shape)
    reach = 1 if radius <= 8 else 2
    weight = np.exp(-0.5 * (np.arange(reach + 1) / alias) ** 2)
    weight /= 2 * weight.sum() - weight[0]
    soft = _symmetric(total.reshape(image.shape).astype(np.float32), weight)
    soft *= np.float32(1.0 / taps)
    soft += 1e-3
    return np.minimum(soft, 255, out=soft).astype(np.uint8)


def motion_blur(image: U8, radius: float, sigma: float, angle: float) -> U8:
    """One-sided Gaussian trail along a line, as ImageMagick's motion blur draws it.

    Taps i = 0 .. 2 ceil(radius) weigh exp(-i^2 / (2 sigma^2)) and lie at the pixel nearest to i (cos, sin); pixels
    beyond the edge repeat the edge; the result is truncated.

    Args:
        image: `(H, W, C)`.
        radius: Half the number of taps.
        sigma: Width of the trail in pixels.
        angle: Direction in degrees, clockwise from the row axis.
    """
    n = 2 * math.ceil(radius) + 1
    i = np.arange(n)
    weight = np.exp(-(i**2) / (2 * sigma * sigma))
    weight /= weight.sum()
    turn = math.radians(angle)
    dx = np.ceil(i * math.cos(turn) - 0.5).astype(int)
    dy = np.ceil(i * math.sin(turn) - 0.5).astype(int)
    pad = int(max(abs(dx).max(), abs(dy).max()))
    height, width, channels = image.shape
    flat = _pad(image, pad, "edge").astype(np.float32).reshape(height + 2 * pad, -1)
    out = np.full((height, width * channels), 1e-3, dtype=np.float32)
    part = np.empty_like(out)
    for k in range(n):
        left = (pad + dx[k]) * channels
        view = flat[pad + dy[k] : pad + dy[k] + height, left : left + width * channels]
        np.multiply(view, np.float32(weight[k]), out=part)
        out += part
    return out.astype(np.uint8).reshape(image.shape)


def zoom_blur(image: U8, start: float, stop: float, step: float) -> U8:
    """Mean of the image and of its enlargements by `arange(start, stop, step)` about the centre, bilinear."""
    factors = np.arange(start, stop, step)
    total: AnyArray = image.astype(np.uint32 if len(factors) > 255 else np.uint16)
    height, width = image.shape[:2]
    picture = to_pillow(image)
    for factor in factors:
        x0, x1 = _zoom_window(width, float(factor))
        y0, y1 = _zoom_window(height, float(factor))
        total += from_pillow(picture.resize((width, height), BILINEAR, box=(x0, y0, x1, y1)))
    return (total // (len(factors) + 1)).astype(np.uint8)


def _zoom_window(n: int, factor: float) -> tuple[float, float]:
    """Edges of what is seen along one axis of length n, for samples that join the centres of the outer pixels."""
    crop = math.ceil(n / factor)
    size = round(crop * factor)
    step = (crop - 1) / (size - 1) if size > 1 else 1.0
    low = (n - crop) // 2 + (size - n) // 2 * step + 0.5 - 0.5 * step
    return max(low, 0.0), min(low + n * step, float(n))


def _pad(image: AnyArray, pad: int, mode: Literal["reflect", "edge"]) -> AnyArray:
    if mode == "reflect" and pad >= min(image.shape[:2]):
        mode = "edge"  # too small to mirror once
    return np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode=mode)


def _symmetric(image: npt.NDArray[np.float32], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Separable symmetric filter with mirrored edges; `weight[0]` is the centre tap."""
    reach = len(weight) - 1
    height, width, channels = image.shape
    flat = _pad(image, reach, "reflect").reshape(height + 2 * reach, -1)
    down = flat[reach : reach + height] * np.float32(weight[0])
    part = np.empty_like(down)
    for k in range(1, reach + 1):
        np.add(flat[reach - k : reach - k + height], flat[reach + k : reach + k + height], out=part)
        part *= np.float32(weight[k])
        down += part
    span = width * channels
    centre = reach * channels
    out = down[:, centre : centre + span] * np.float32(weight[0])
    part = np.empty_like(out)
    for k in range(1, reach + 1):
        a, b = centre - k * channels, centre + k * channels
        np.add(down[:, a : a + span], down[:, b : b + span], out=part)
        part *= np.float32(weight[k])
        out += part
    return out.reshape(image.shape)
