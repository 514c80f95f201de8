"""Lung vessels: a few branching trees, built once per process and shared by all cases by random choice and warp."""

from __future__ import annotations

import functools

import numpy as np

from vesalius.sources.phantom.model import Array
from vesalius.sources.phantom.seeding import stream

TREES = 6
#: Size in mm of the normalised lung (across, up, deep).
_SCALE = np.asarray((105.0, 225.0, 150.0))


@functools.lru_cache(maxsize=TREES)
def segments(number: int) -> tuple[Array, Array, Array]:
    """One tree: starts `(N, 3)`, ends `(N, 3)` in (across, up, deep) mm and radii `(N,)` mm."""
    rng = stream(0, "lung tree", number)
    starts, ends, radii = [], [], []
    root = np.asarray((4.0, 118.0, 75.0))
    todo: list[tuple[Array, Array, float, int]] = []
    for angle in np.linspace(-1.35, 1.35, 7) + rng.normal(0, 0.12, 7):
        d = np.asarray((np.cos(angle), np.sin(angle) * 1.25, rng.uniform(-0.7, 0.7)))
        todo.append((root + rng.normal(0, 6, 3), d / np.linalg.norm(d), rng.uniform(3.6, 6.5), 0))
    while todo:
        at, d, r, level = todo.pop()
        reach = rng.uniform(13, 26) * 0.93**level
        end = at + d * reach
        starts.append(at)
        ends.append(end)
        radii.append(r)
        inside = -2 < end[0] < 106 and -4 < end[1] < 228 and -4 < end[2] < 154
        if level >= 7 or r < 0.35 or not inside:
            continue
        n = 2 if level < 6 or rng.random() < 0.5 else 1
        for _ in range(n):
            turn = d + rng.normal(0, 0.36, 3)
            turn[0] += 0.10
            todo.append((end, turn / np.linalg.norm(turn), r * rng.uniform(0.66, 0.84), level + 1))
    return np.asarray(starts), np.asarray(ends), np.asarray(radii)


@functools.lru_cache(maxsize=TREES)
def film(number: int, size: int = 320) -> Array:
    """Frontal texture `(up, across)` of vessel thickness in mm."""
    starts, ends, radii = segments(number)
    out = np.zeros((size, size // 2), np.float32)
    sy, sx = size / _SCALE[1], (size // 2) / _SCALE[0]
    for a, b, r in zip(starts, ends, radii, strict=True):
        n = max(2, int(np.linalg.norm((b - a)[:2]) * 1.4))
        t = np.linspace(0, 1, n)[:, None]
        path = a + (b - a) * t
        ry = int(np.ceil(r * sy)) + 1
        for x, y, _ in path:
            cy, cx = y * sy, x * sx
            y0, y1 = max(0, int(cy) - ry), min(size, int(cy) + ry + 1)
            x0, x1 = max(0, int(cx) - ry), min(size // 2, int(cx) + ry + 1)
            if y0 >= y1 or x0 >= x1:
                continue
            dy = (np.arange(y0, y1) + 0.5 - cy)[:, None] / sy
            dx = (np.arange(x0, x1) + 0.5 - cx)[None, :] / sx
            chord = 2 * np.sqrt(np.maximum(r * r - dy * dy - dx * dx, 0))
            np.maximum(out[y0:y1, x0:x1], chord, out=out[y0:y1, x0:x1])
    out.flags.writeable = False
    return out


@functools.lru_cache(maxsize=TREES)
def volume(number: int, size: int = 96) -> Array:
    """Texture `(up, deep, across)` of vessel share, uint8 0..255."""
    starts, ends, radii = segments(number)
    shape = (size, size * 3 // 4, size // 2)
    out = np.zeros(shape, np.float32)
    step = _SCALE / np.asarray((shape[2], shape[0], shape[1]))
    for a, b, r in zip(starts, ends, radii, strict=True):
        n = max(2, int(np.linalg.norm(b - a)))
        path = (a + (b - a) * np.linspace(0, 1, n)[:, None]) / step
        x, y, z = (np.floor(path[:, i]).astype(int) for i in range(3))
        ok = (x >= 0) & (x < shape[2]) & (y >= 0) & (y < shape[0]) & (z >= 0) & (z < shape[1])
        reach = 1 if r > 1.8 else 0
        share = min(1.0, (r / 1.5) ** 1.5)
        for oy in range(-reach, reach + 1):
            for oz in range(-reach, reach + 1):
                yy, zz = np.clip(y[ok] + oy, 0, shape[0] - 1), np.clip(z[ok] + oz, 0, shape[1] - 1)
                np.maximum.at(out, (yy, zz, x[ok]), share)
    texture = (out * 255).astype(np.uint8)
    texture.flags.writeable = False
    return texture
