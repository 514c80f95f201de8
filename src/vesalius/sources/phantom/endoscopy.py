"""Colonoscopy: a lit tube with folds, polyps, ulcer, blood, an instrument, and specular light."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import fractal, grid, mix, smooth, star_local, stroke, to_bytes, window, wobble

#: Millimetres across in the middle distance.
FIELD_MM = 60.0


def draw(brief: Brief) -> Picture:
    """One frame, uint8 RGB."""
    n = brief.size
    shape = (n, n)
    rng, pose = brief.body("colon"), brief.visit("pose")
    y, x = grid(n, n)
    ly, lx = 0.5 + float(pose.uniform(-0.16, 0.16)), 0.5 + float(pose.uniform(-0.16, 0.16))
    dy, dx = y - ly, x - lx
    theta = np.arctan2(dy, dx)
    r = np.sqrt(dy * dy + dx * dx) + 1e-3
    # Three-cornered lumen: the radius wobbles three times around.
    corner = 1 + 0.16 * np.cos(3 * theta + float(rng.uniform(0, 6))) + 0.05 * smooth(rng, shape, 4)
    q = r * corner
    depth = np.log(q / 0.05)
    warp = 0.30 * smooth(rng, shape, 5)
    phase = (depth + warp) * 1.55 + float(pose.uniform(0, 1))
    saw = phase - np.floor(phase)
    fold = np.where(saw < 0.78, saw / 0.78, (1 - saw) / 0.22)
    light = np.clip(1.05 * (1 - np.exp(-((q / 0.27) ** 1.5))), 0, 1) * (1.12 - 0.55 * r)
    shade = light * (0.66 + 0.40 * fold) * (1 + 0.05 * fractal(rng, shape, 10, 3))
    tone = rng.uniform(-1, 1, 3)
    colour = np.asarray((0.90 + 0.05 * tone[0], 0.50 + 0.08 * tone[1], 0.40 + 0.08 * tone[2]), np.float32)
    image = (shade[..., None] ** np.asarray((0.85, 1.25, 1.4), np.float32)) * colour
    veins = np.exp(-((fractal(rng, shape, 7, 3) / 0.07) ** 2)) * np.clip(light * 1.4 - 0.5, 0, 1)
    image *= 1 - veins[..., None] * np.asarray((0.07, 0.20, 0.18), np.float32)
    height = np.zeros(shape, np.float32)
    parts = [
        Part("lumen", (q < 0.12) & np.ones(shape, bool)),
        Part("mucosa", np.ones(shape, bool), granularity="field"),
    ]
    strength = float(min(1.15, brief.contrast))
    angles = brief.body("slots").permutation(6) * (np.pi / 3) + float(rng.uniform(0, 1))
    slot = 0
    mottle = smooth(rng, shape, 24)
    polyp, ulcer, blood, tool = (brief.get(k) for k in ("polyp", "ulcer", "bleeding", "instrument"))
    if ulcer is not None:
        c = brief.body("lesion", ulcer.name)
        at = _wall(angles[slot], ly, lx, n)
        slot += 1
        rad = ulcer.size / FIELD_MM * n / 2
        w = window(at[0], at[1], 2.2 * rad + 4, shape)
        mask = np.zeros(shape, bool)
        if w is not None:
            where, oy, ox = w
            wave = wobble(c, 0.14, 6)
            rim = star_local(oy, ox, rad * 1.2, rad * 1.25, 0, wave, 0.35 * rad + 1)
            base = star_local(oy, ox, rad * 0.9, rad, 0, wave, 1.5)
            mix(image[where], (0.62, 0.14, 0.11), rim * 0.6 * strength)
            mix(image[where], (0.93, 0.86, 0.66), base * 0.85 * strength * (0.85 + 0.15 * mottle[where]))
            mask[where] = base > 0.5
        parts.append(Part("ulcer", mask, granularity="lesion", finding=ulcer.name, attributes={"size_mm": ulcer.size}))
    if blood is not None:
        c = brief.body("lesion", blood.name)
        at = _wall(angles[slot], ly, lx, n)
        slot += 1
        spot = np.zeros(shape, np.float32)
        t = np.linspace(0, 1, 12)
        for _ in range(2 + int(4 * blood.score)):
            reach, bend = n * float(c.uniform(0.10, 0.22)), float(c.uniform(-0.08, 0.08)) * n
            start = at + c.normal(0, 0.025 * n, 2)
            pts = np.stack([start[0] + reach * t, start[1] + bend * np.sin(t * 4)], 1)
            stroke(spot, pts, np.full(12, 0.013 * n) * (1.2 - 0.7 * t), 2)
        spot = np.clip(gaussian_filter(spot, 0.007 * n) * 1.5, 0, 1)
        mix(image, (0.55, 0.02, 0.02), spot * 0.88 * strength)
        height += spot * 0.3
        parts.append(Part("bleeding", spot > 0.4, granularity="lesion", finding=blood.name))
    if polyp is not None:
        c = brief.body("lesion", polyp.name)
        for k in range(polyp.count):
            size = polyp.size * (1 if k == 0 else 0.7)
            at = _wall(angles[slot], ly, lx, n)
            slot += 1
            rad = max(2.0, size / FIELD_MM * n / 2)
            w = window(at[0], at[1], 2 * rad + 6, shape)
            mask = np.zeros(shape, bool)
            if w is not None:
                where, oy, ox = w
                wave = wobble(c, 0.06, 5)
                tilt = float(c.uniform(0, 3))
                cover = star_local(oy, ox, rad * 0.86, rad, tilt, wave, 1.6)
                shadow = star_local(oy - 0.30 * rad, ox - 0.2 * rad, rad, rad * 1.1, tilt, wave, 0.6 * rad + 1)
                image[where] *= 1 - 0.42 * strength * (shadow * (1 - cover))[..., None]
                d2 = np.clip(1 - (oy**2 + ox**2) / (rad * 1.05) ** 2, 0, 1)
                normal = np.sqrt(d2)
                lit = 0.45 + 0.62 * np.clip(0.35 + 0.65 * normal - 0.22 * (oy + ox) / rad, 0, 1.3)
                bump = 1 + 0.06 * mottle[where]
                tint = colour * np.asarray((0.98, 0.86, 0.86), np.float32)
                mix(image[where], (0, 0, 0), cover * min(1.0, strength))
                image[where] += (cover * min(1.0, strength) * lit * bump)[..., None] * tint
                height[where] += cover * normal * 2.2
                mask[where] = cover > 0.5
            parts.append(
                Part(
                    "polyp",
                    mask,
                    granularity="lesion",
                    finding=polyp.name,
                    attributes={"size_mm": round(size, 1), "number": k + 1},
                )
            )
    _glints(image, height, light, brief, shape)
    if tool is not None:
        c = brief.visit("instrument")
        edge = float(c.uniform(0.15, 0.85))
        a = np.asarray((1.02, edge) if c.random() < 0.6 else (edge, 1.02)) * n
        b = np.asarray((ly + float(c.uniform(-0.03, 0.16)), lx + float(c.uniform(-0.12, 0.12)))) * n
        b = a + (b - a) * (0.45 + 0.5 * tool.score)
        thick = 0.040 * n
        cover = np.zeros(shape, np.float32)
        stroke(cover, np.stack([a, b]), np.asarray((thick, thick)), 1.5)
        v = (b - a) / max(1e-6, float(np.hypot(*(b - a))))
        side = ((np.arange(n)[:, None] - a[0]) * v[1] - (np.arange(n)[None, :] - a[1]) * v[0]) / thick
        along = (np.arange(n)[:, None] - a[0]) * v[0] + (np.arange(n)[None, :] - a[1]) * v[1]
        metal = (
            0.42 + 0.40 * np.exp(-(((side + 0.3) / 0.35) ** 2)) - 0.25 * side**2 + 0.05 * np.sin(along / (0.012 * n))
        )
        mix(image, (0, 0, 0), cover)
        image += (cover * np.clip(metal, 0.08, 1))[..., None] * np.asarray((0.93, 0.97, 1.0), np.float32)
        hit = cover > 0.5
        parts = [
            Part(p.label, p.mask & ~hit, p.image, p.granularity, p.finding, p.attributes)
            if p.granularity == "lesion"
            else p
            for p in parts
        ]
        parts.append(Part("instrument", hit, granularity="instrument", finding=tool.name))
    # The sensor's window: black beyond a rounded square.
    corner = np.maximum(np.abs(y - 0.5), np.abs(x - 0.5)) * 0.62 + np.sqrt((y - 0.5) ** 2 + (x - 0.5) ** 2) * 0.38
    inside = np.clip((0.475 - corner) * n / 1.5, 0, 1)
    image += brief.visit("noise").standard_normal(image.shape, dtype=np.float32) * np.float32(0.012 * brief.noise)
    image = np.clip(image, 0, 1) * inside[..., None] + 0.015
    field = inside > 0.5
    parts = [Part(p.label, p.mask & field, p.image, p.granularity, p.finding, p.attributes) for p in parts]
    step = FIELD_MM / n
    picture = Image(array=to_bytes(image), modality="ES", kind="2d", spacing=(step, step), body_part="colon")
    labels = {"polyp count": Label(0 if polyp is None else polyp.count, unit="{polyps}", source="phantom")}
    return Picture((picture,), tuple(parts), brief.findings, labels)


def _wall(angle: float, ly: float, lx: float, n: int) -> Array:
    """A place on the wall between the lumen and the rim."""
    for d in (0.29, 0.26, 0.23, 0.20):
        p = np.asarray((ly + d * np.sin(angle), lx + d * np.cos(angle)))
        if (np.abs(p - 0.5) < 0.30).all():
            break
    return np.asarray(np.clip(p, 0.22, 0.78) * n)


def _glints(image: Array, height: Array, light: Array, brief: Brief, shape: tuple[int, int]) -> None:
    """Specular light where the wet surface faces the lamp."""
    rng = brief.visit("glints")
    relief = gaussian_filter(height, 0.006 * shape[0]) + 0.10 * smooth(rng, shape, 22)
    gy, gx = np.gradient(relief * shape[0] / 128)
    face = np.exp(-((gy * 14 + 0.35) ** 2 + (gx * 14 + 0.3) ** 2) / 0.03) * np.clip(light * 1.6 - 0.75, 0, 1)
    spots = np.clip(gaussian_filter(face.astype(np.float32), 0.5) * 1.5 - 0.45, 0, 1)
    mix(image, (1.0, 0.98, 0.95), spots)
