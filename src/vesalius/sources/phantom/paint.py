"""Small drawing tools shared by the generators: smooth noise, soft shapes, colour mixing. Pure numpy."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np

from vesalius.sources.phantom.model import Array


@functools.lru_cache(maxsize=64)
def grid(height: int, width: int) -> tuple[Array, Array]:
    """Pixel centres `(y (H, 1), x (1, W))` as fractions of the edge, read-only float32."""
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None, :]
    y.flags.writeable = x.flags.writeable = False
    return y, x


@functools.lru_cache(maxsize=512)
def _taps(n: int, cells: int) -> tuple[Array, Array]:
    """First coarse index `(n,)` and the four cubic B-spline weights `(4, n)`, scaled to keep unit variance."""
    t = (np.arange(n) + 0.5) / n * cells
    k = np.minimum(np.floor(t).astype(np.intp), cells - 1)
    u = t - k
    w = np.stack([(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3])
    w = (w / np.sqrt((w**2).sum(0))).astype(np.float32)
    return k, w


def smooth(rng: np.random.Generator, shape: tuple[int, ...], cells: tuple[int, ...] | int) -> Array:
    """Gaussian noise of unit variance that varies over `shape / cells` pixels; 1-d, 2-d or 3-d, float32."""
    cells = (cells,) * len(shape) if isinstance(cells, int) else cells
    cells = tuple(max(1, min(c, n)) for c, n in zip(cells, shape, strict=True))
    out: Array = rng.standard_normal(tuple(c + 3 for c in cells), dtype=np.float32)
    # Last axis first, while the others are still coarse; no matrix product, whose threads would fight over the cores.
    for axis in range(len(shape) - 1, -1, -1):
        k, w = _taps(shape[axis], cells[axis])
        form = [1] * len(shape)
        form[axis] = -1
        total = out.take(k, axis) * w[0].reshape(form)
        for j in range(1, 4):
            total += out.take(k + j, axis) * w[j].reshape(form)
        out = total
    return out


def fractal(
    rng: np.random.Generator, shape: tuple[int, ...], cells: int, octaves: int = 3, fall: float = 0.55
) -> Array:
    """Sum of `smooth` noises of doubling fineness, unit variance."""
    out = np.zeros(shape, np.float32)
    total = 0.0
    for o in range(octaves):
        c = cells * 2**o
        if c > max(shape) and o:
            break
        out += fall**o * smooth(rng, shape, c)
        total += fall ** (2 * o)
    return out / np.float32(np.sqrt(total))


def window(
    cy: float, cx: float, reach: float, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], Array, Array] | None:
    """The part of an image within `reach` pixels of a centre: its slices and offsets `dy`, `dx` from the centre."""
    y0, y1 = max(0, int(cy - reach)), min(shape[0], int(cy + reach) + 2)
    x0, x1 = max(0, int(cx - reach)), min(shape[1], int(cx + reach) + 2)
    if y0 >= y1 or x0 >= x1:
        return None
    dy = (np.arange(y0, y1, dtype=np.float32) + np.float32(0.5 - cy))[:, None]
    dx = (np.arange(x0, x1, dtype=np.float32) + np.float32(0.5 - cx))[None, :]
    return (slice(y0, y1), slice(x0, x1)), dy, dx


def ellipse(
    shape: tuple[int, int], cy: float, cx: float, ry: float, rx: float, angle: float = 0.0, soft: float = 1.0
) -> Array:
    """Coverage 0..1 of a filled ellipse (pixels, radians), with an edge `soft` pixels wide."""
    out = np.zeros(shape, np.float32)
    reach = max(ry, rx) + soft + 1
    w = window(cy, cx, reach, shape)
    if w is not None:
        where, dy, dx = w
        out[where] = ellipse_local(dy, dx, ry, rx, angle, soft)
    return out


def ellipse_local(dy: Array, dx: Array, ry: float, rx: float, angle: float = 0.0, soft: float = 1.0) -> Array:
    """Coverage of an ellipse over offsets from its centre."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * c + dy * s) / np.float32(rx), (dy * c - dx * s) / np.float32(ry)
    q = np.sqrt(u * u + v * v)
    scale = np.float32(min(rx, ry) / max(soft, 1e-3))
    return np.asarray(np.clip((1 - q) * scale + np.float32(0.5), 0, 1))


def wobble(rng: np.random.Generator, amount: float, waves: int = 8) -> tuple[Array, Array]:
    """Fourier coefficients of an irregular outline, to be evaluated by `star`."""
    k = np.arange(2, 2 + waves)
    size = amount / k**0.8
    return rng.normal(0, 1, waves) * size, rng.uniform(0, 2 * np.pi, waves)


def star_local(
    dy: Array, dx: Array, ry: float, rx: float, angle: float, wave: tuple[Array, Array], soft: float = 1.0
) -> Array:
    """Coverage of an ellipse whose radius wobbles with the angle."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * c + dy * s) / np.float32(rx), (dy * c - dx * s) / np.float32(ry)
    theta = np.arctan2(v, u)
    radius = np.ones_like(theta)
    for k, (a, p) in enumerate(zip(*wave, strict=True)):
        radius += np.float32(a) * np.cos((k + 2) * theta + np.float32(p))
    np.clip(radius, 0.35, 1.7, out=radius)
    q = np.sqrt(u * u + v * v) / radius
    return np.asarray(np.clip((1 - q) * np.float32(min(rx, ry) / max(soft, 1e-3)) + np.float32(0.5), 0, 1))


def star(
    shape: tuple[int, int],
    cy: float,
    cx: float,
    ry: float,
    rx: float,
    angle: float,
    wave: tuple[Array, Array],
    soft: float = 1.0,
) -> Array:
    """`star_local` on a whole image."""
    out = np.zeros(shape, np.float32)
    w = window(cy, cx, 1.75 * max(ry, rx) + soft, shape)
    if w is not None:
        where, dy, dx = w
        out[where] = star_local(dy, dx, ry, rx, angle, wave, soft)
    return out


def stroke(cover: Array, points: Array, radii: Array, soft: float = 1.0) -> None:
    """Draw a polyline of changing thickness into `cover` by maximum.

    Args:
        cover: `(H, W)` coverage, changed in place.
        points: `(N, 2)` rows of (y, x) in pixels.
        radii: `(N,)` half thickness in pixels.
        soft: Width of the edge in pixels.
    """
    shape = (cover.shape[0], cover.shape[1])
    for (y0, x0), (y1, x1), r in zip(points[:-1], points[1:], radii, strict=False):
        reach_y, reach_x = abs(y1 - y0) / 2 + r + soft, abs(x1 - x0) / 2 + r + soft
        a, b = max(0, int((y0 + y1) / 2 - reach_y)), min(shape[0], int((y0 + y1) / 2 + reach_y) + 2)
        c, d = max(0, int((x0 + x1) / 2 - reach_x)), min(shape[1], int((x0 + x1) / 2 + reach_x) + 2)
        if a >= b or c >= d:
            continue
        py = (np.arange(a, b, dtype=np.float32) + np.float32(0.5 - y0))[:, None]
        px = (np.arange(c, d, dtype=np.float32) + np.float32(0.5 - x0))[None, :]
        vy, vx = np.float32(y1 - y0), np.float32(x1 - x0)
        t = np.clip((py * vy + px * vx) / (vy * vy + vx * vx + np.float32(1e-6)), 0, 1)
        distance = np.sqrt((py - t * vy) ** 2 + (px - t * vx) ** 2)
        # A line thinner than a pixel fades instead of breaking up.
        value = np.clip((np.float32(r) - distance) / np.float32(soft) + np.float32(0.5), 0, 1) * np.float32(
            min(1.0, 2 * r / soft + 0.15)
        )
        np.maximum(cover[a:b, c:d], value, out=cover[a:b, c:d])


def mix(image: Array, colour: Iterable[float], alpha: Array) -> None:
    """Blend a colour into `(H, W, 3)` where `alpha` `(H, W)` says, in place."""
    image += alpha[..., None] * (np.asarray(tuple(colour), np.float32) - image)


def to_bytes(image: Array) -> Array:
    """Float 0..1 to uint8."""
    return np.asarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))


def separate(
    rng: np.random.Generator, n: int, radius: Array | float, low: tuple[float, float], high: tuple[float, float]
) -> Array:
    """`(n, 2)` places in a rectangle, far enough apart where there is room; always exactly `n`, nested in `n`.

    Each place is the best of 12 candidates, so the first `k` places do not depend on how many follow.
    """
    r = np.broadcast_to(np.asarray(radius, float), (n,))
    out = np.zeros((n, 2))
    for i in range(n):
        candidates = rng.uniform(low, high, (12, 2))
        if i:
            gap = np.sqrt(((candidates[:, None] - out[None, :i]) ** 2).sum(-1)) - r[:i] - r[i]
            ok = gap.min(1)
            out[i] = candidates[int(np.argmax(ok > 0)) if (ok > 0).any() else int(np.argmax(ok))]
        else:
            out[i] = candidates[0]
    return out


def at_least_one(mask: Array, index: tuple[int, ...]) -> Array:
    """The mask, with the pixel at `index` set where it would be empty: what is smaller than a pixel is still there."""
    if not mask.any():
        mask[index] = True
    return mask
