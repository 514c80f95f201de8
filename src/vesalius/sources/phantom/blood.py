"""Blood smear: red cells, white cells and platelets of known number, with sickle and target cells."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import fractal, grid, mix, star_local, to_bytes, window, wobble

#: Millimetres across.
FIELD_MM = 0.085
_RADIUS = {"red cell": 3.7, "sickle cell": 4.4, "target cell": 3.9, "white cell": 6.2, "platelet": 1.3}


def draw(brief: Brief) -> Picture:
    """One field of a stained smear, uint8 RGB, every cell boxed."""
    n = brief.size
    shape = (n, n)
    rng = brief.body("smear")
    px = n / (FIELD_MM * 1000)
    white, sickle, target, low = (
        brief.get(k) for k in ("leukocytosis", "sickle cells", "target cells", "thrombocytopenia")
    )
    plan = {
        "white cell": white.count if white is not None else int(rng.integers(1, 4)),
        "sickle cell": sickle.count if sickle is not None else 0,
        "target cell": target.count if target is not None else 0,
        "platelet": (2 - int(low.score * 2.999)) if low is not None else int(rng.integers(6, 15)),
        "red cell": int(rng.integers(34, 56)),
    }
    tone = brief.visit("stain").uniform(-1, 1, 3)
    ground = np.asarray((0.90 + 0.04 * tone[0], 0.90 + 0.03 * tone[1], 0.86 + 0.05 * tone[2]), np.float32)
    y, x = grid(n, n)
    image = ground * (1.03 - 0.35 * ((y - 0.5) ** 2 + (x - 0.5) ** 2) + 0.012 * fractal(rng, shape, 4, 2))[..., None]
    red = np.asarray((0.80 + 0.04 * tone[1], 0.55 + 0.06 * tone[0], 0.50 + 0.06 * tone[2]), np.float32)
    parts = [Part("smear", np.ones(shape, bool), granularity="field")]
    owner = {"white cell": white, "sickle cell": sickle, "target cell": target}
    centres, sizes = np.zeros((0, 2)), np.zeros(0)
    cells: list[tuple[str, Array, float, np.random.Generator]] = []
    for name, count in plan.items():
        c = brief.body("cells", name)
        for _ in range(count):
            r = _RADIUS[name] * px * float(np.exp(c.normal(0, 0.07)))
            at = _free(c, n, r, centres, sizes, strict=name != "red cell")
            centres, sizes = np.vstack([centres, at]), np.append(sizes, r)
            cells.append((name, at, r, c))
    # Red cells first, so that white cells and platelets lie over them.
    order = {"red cell": 0, "target cell": 1, "sickle cell": 2, "platelet": 3, "white cell": 4}
    strength = float(min(1.1, 0.45 + 0.6 * brief.contrast))
    for name, at, r, c in sorted(cells, key=lambda item: order[item[0]]):
        mask = np.zeros(shape, bool)
        w = window(at[0], at[1], 1.75 * r + 3, shape)
        if w is not None:
            where, dy, dx = w
            cover = _PAINT[name](image[where], dy, dx, r, c, (red, strength))
            mask[where] = cover > 0.5
        if not mask.any():
            mask[int(np.clip(at[0], 0, n - 1)), int(np.clip(at[1], 0, n - 1))] = True
        f = owner.get(name)
        parts.append(Part(name, mask, granularity="cell", finding=f.name if f is not None else ""))
    image += brief.visit("noise").standard_normal(image.shape, dtype=np.float32) * np.float32(0.009 * brief.noise)
    step = FIELD_MM / n
    picture = Image(array=to_bytes(image), modality="GM", kind="2d", spacing=(step, step), body_part="blood")
    labels = {f"{name} count": Label(count, unit="{cells}", source="phantom") for name, count in plan.items()}
    return Picture((picture,), tuple(parts), brief.findings, labels)


def _free(rng: np.random.Generator, n: int, r: float, centres: Array, sizes: Array, *, strict: bool) -> Array:
    best, best_gap = np.zeros(2), -np.inf
    for _ in range(30 if strict else 12):
        p = rng.uniform(r * (1.05 if strict else 0.4), n - r * (1.05 if strict else 0.4), 2)
        gap = (
            float((np.hypot(*(centres - p).T) - sizes - r).min()) + (0 if strict else 0.25 * r) if len(centres) else 1.0
        )
        if gap > best_gap:
            best, best_gap = p, gap
        if gap > 0:
            break
    return best


def _red(part: Array, dy: Array, dx: Array, r: float, c: np.random.Generator, ink: tuple[Array, float]) -> Array:
    red, _ = ink
    aspect = float(c.uniform(0.86, 1.0))
    cover = star_local(dy, dx, r * aspect, r, float(c.uniform(0, 3.1)), wobble(c, 0.02, 4), max(1.0, 0.12 * r))
    pale = star_local(dy, dx, 0.42 * r * aspect, 0.42 * r, 0.0, wobble(c, 0.03, 3), 0.55 * r) * float(
        c.uniform(0.35, 0.85)
    )
    rim = np.clip(cover * (1 - cover) * 4, 0, 1)
    # Light passes through both cells where two overlap.
    part *= 1 - cover[..., None] * (1 - red) * (1 - 0.75 * pale[..., None]) * 1.05
    part *= 1 - 0.10 * rim[..., None]
    return cover


def _target(part: Array, dy: Array, dx: Array, r: float, c: np.random.Generator, ink: tuple[Array, float]) -> Array:
    red, strength = ink
    cover = star_local(dy, dx, r, r, 0.0, wobble(c, 0.02, 4), max(1.0, 0.12 * r))
    pale = star_local(dy, dx, 0.66 * r, 0.66 * r, 0.0, wobble(c, 0.02, 3), 0.25 * r)
    core = star_local(dy, dx, 0.34 * r, 0.34 * r, 0.0, wobble(c, 0.03, 3), 0.22 * r)
    ring = np.clip(pale - core, 0, 1) * min(1.0, strength)
    part *= 1 - cover[..., None] * (1 - red) * (1.1 - 0.85 * ring[..., None])
    return cover


def _sickle(part: Array, dy: Array, dx: Array, r: float, c: np.random.Generator, ink: tuple[Array, float]) -> Array:
    red, _ = ink
    a = float(c.uniform(0, 2 * np.pi))
    u, v = dx * np.cos(a) + dy * np.sin(a), dy * np.cos(a) - dx * np.sin(a)
    outer = np.clip((r - np.hypot(u, v * 1.0)) / 1.1 + 0.5, 0, 1)
    hole = np.clip((1.02 * r - np.hypot(u + 0.0, v - 0.62 * r)) / 1.1 + 0.5, 0, 1)
    cover = np.asarray(outer * (1 - hole))
    part *= 1 - cover[..., None] * (1 - red) * 1.25
    return cover


def _white(part: Array, dy: Array, dx: Array, r: float, c: np.random.Generator, ink: tuple[Array, float]) -> Array:
    _, strength = ink
    cover = star_local(dy, dx, r, r, 0.0, wobble(c, 0.04, 5), max(1.0, 0.1 * r))
    mix(part, (0.76, 0.68, 0.84), cover * 0.85)
    kind = c.random()
    nucleus = np.zeros_like(cover)
    if kind < 0.6:
        start = float(c.uniform(0, 6.28))
        for k in range(int(c.integers(3, 5))):
            a = start + k * 1.25
            oy, ox = 0.42 * r * np.sin(a), 0.42 * r * np.cos(a)
            nucleus = np.maximum(nucleus, star_local(dy - oy, dx - ox, 0.30 * r, 0.36 * r, a, wobble(c, 0.06, 3), 1.5))
    else:
        size = 0.78 if kind > 0.8 else 0.62
        nucleus = star_local(dy, dx, size * r * 0.92, size * r, float(c.uniform(0, 3)), wobble(c, 0.06, 4), 1.5)
    texture = 1 + 0.08 * np.sin(dy * (5 / r) + np.cos(dx * (7 / r)))
    mix(part, (0.40, 0.24, 0.66), np.clip(nucleus * cover * 0.92 * texture * min(1.0, strength), 0, 1))
    return cover


def _platelet(part: Array, dy: Array, dx: Array, r: float, c: np.random.Generator, ink: tuple[Array, float]) -> Array:
    _, strength = ink
    cover = star_local(dy, dx, max(r * 0.8, 0.8), max(r, 1.0), float(c.uniform(0, 3)), wobble(c, 0.12, 4), 1.2)
    mix(part, (0.56, 0.40, 0.70), cover * 0.85 * min(1.0, strength))
    return cover


_PAINT = {"red cell": _red, "target cell": _target, "sickle cell": _sickle, "white cell": _white, "platelet": _platelet}
