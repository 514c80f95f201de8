"""Colour fundus photograph: vessel tree of arteries and veins, disc, cup, macula, lesions, grade of retinopathy."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Finding, Part, Picture
from vesalius.sources.phantom.paint import ellipse, fractal, grid, mix, star_local, stroke, to_bytes, window, wobble

#: Millimetres across the image (45 degrees of view are about 13 mm of retina).
FIELD_MM = 13.0


def draw(brief: Brief) -> Picture:
    """One fundus photograph of the left or right eye, uint8 RGB."""
    n = brief.size
    body, pose = brief.body("fundus"), brief.visit("pose")
    left = bool(body.random() < 0.5)
    sign = -1.0 if left else 1.0  # the disc is nasal: right of the macula in a right eye
    y, x = grid(n, n)
    jitter = pose.uniform(-0.015, 0.015, 2)
    macula = (0.5 + float(body.uniform(-0.03, 0.03)) + jitter[0], 0.5 - sign * 0.07 + jitter[1])
    disc = (macula[0] - 0.015 + float(body.uniform(-0.02, 0.02)), macula[1] + sign * float(body.uniform(0.285, 0.315)))
    shape = (n, n)
    fov = ellipse(shape, n / 2, n / 2, 0.485 * n, 0.485 * n, soft=max(1.5, n / 128))
    # Background: pigment, choroid, falling light towards the rim.
    tone = body.uniform(-1, 1, 3)
    base = np.asarray((0.80 + 0.10 * tone[0], 0.36 + 0.10 * tone[1], 0.12 + 0.06 * tone[2]), np.float32)
    r2 = (y - 0.5) ** 2 + (x - 0.5) ** 2
    light = 1.12 - 1.35 * r2 + 0.05 * fractal(pose, shape, 2, 2)
    image = base * light[..., None]
    choroid = fractal(body, shape, 14, 3)
    image *= 1 + 0.045 * choroid[..., None] * np.asarray((0.6, 1.2, 1.3), np.float32)
    dm = (y - macula[0]) ** 2 + (x - macula[1]) ** 2
    image *= 1 - np.exp(-dm / (2 * 0.062**2))[..., None] * np.asarray((0.22, 0.38, 0.45), np.float32)
    # Disc and cup.
    cupping = brief.get("optic disc cupping")
    ratio = float(body.uniform(0.28, 0.5)) if cupping is None else 0.64 + 0.24 * cupping.score
    ry, rx = 0.075 * n * float(body.uniform(0.94, 1.06)), 0.066 * n
    cy, cx = disc[0] * n, disc[1] * n
    disc_cover = ellipse(shape, cy, cx, ry, rx, soft=max(1.5, n / 70))
    mix(image, (0.95, 0.68, 0.36), 0.88 * disc_cover)
    shown = ratio if cupping is None else 0.5 + (ratio - 0.5) * min(1.0, brief.contrast + 0.15)
    cup_cover = ellipse(shape, cy, cx - sign * 0.03 * rx, shown * ry, shown * rx, soft=max(1.5, n / 60))
    mix(image, (1.0, 0.88, 0.62), 0.85 * cup_cover)
    # Vessels.
    artery, vein, widths = vessel_tree(brief, n, (cy, cx), (macula[0] * n, macula[1] * n), sign)
    veil = np.clip(1.0 - 0.25 * cup_cover, 0, 1)
    image *= 1 - (vein * veil * 0.55)[..., None] * np.asarray((0.55, 0.85, 0.75), np.float32)
    image *= 1 - (artery * veil * 0.50)[..., None] * np.asarray((0.35, 0.80, 0.75), np.float32)
    image += (artery**4 * 0.05)[..., None]
    parts = [
        Part("optic disc", ellipse(shape, cy, cx, ry, rx, soft=0.01) > 0.5),
        Part("optic cup", ellipse(shape, cy, cx - sign * 0.03 * rx, ratio * ry, ratio * rx, soft=0.01) > 0.5),
        Part("macula", ellipse(shape, macula[0] * n, macula[1] * n, 0.085 * n, 0.085 * n, soft=0.01) > 0.5),
        Part("arteries", artery > 0.5),
        Part("veins", (vein > 0.5) & (artery <= 0.5)),
        Part("fundus", fov > 0.5, granularity="field"),
    ]
    if cupping is not None:
        parts.append(
            Part("optic disc cupping", parts[1].mask & parts[0].mask, granularity="lesion", finding=cupping.name)
        )
    parts += _lesions(brief, image, fov, (cy, cx, ry), (macula[0] * n, macula[1] * n))
    image *= fov[..., None]
    image += (
        brief.visit("noise").standard_normal(image.shape, dtype=np.float32)
        * np.float32(0.012 * brief.noise)
        * fov[..., None]
    )
    step = FIELD_MM / n
    picture = Image(
        array=to_bytes(image),
        modality="OP",
        view="MACULA",
        kind="2d",
        spacing=(step, step),
        body_part="retina",
        meta={"laterality": "L" if left else "R"},
    )
    labels = {
        "DR grade": Label(grade(brief.findings), source="phantom"),
        "cup-to-disc ratio": Label(round(ratio, 3), unit="1", source="phantom"),
        "artery-to-vein ratio": Label(round(widths, 3), unit="1", source="phantom"),
        "eye": Label("left" if left else "right", source="phantom"),
    }
    return Picture((picture,), tuple(parts), brief.findings, labels)


def grade(findings: tuple[Finding, ...]) -> int:
    """Grade of diabetic retinopathy by rule, after the international scale.

    0 none, 1 microaneurysms alone, 2 with haemorrhages or exudates, 3 with 12 or more haemorrhages; new vessels
    (grade 4) are not drawn.
    """
    count = {f.name: f.count for f in findings}
    blood = count.get("retinal haemorrhages", 0)
    if blood >= 12:
        return 3
    if blood or "hard exudates" in count:
        return 2
    return int("microaneurysms" in count)


def vessel_tree(
    brief: Brief, n: int, disc: tuple[float, float], macula: tuple[float, float], sign: float
) -> tuple[Array, Array, float]:
    """Coverage of arteries and of veins, and the ratio of their widths.

    Each arcade leaves the disc up or down, bends around the macula, and branches; a vein runs beside each artery.
    """
    rng = brief.body("vessels")
    artery, vein = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    ratio = float(rng.uniform(0.62, 0.80))
    wide = 0.0085 * n
    twist = float(rng.uniform(0.02, 0.07))
    soft = max(1.0, n / 220)
    for cover, factor, offset in ((vein, 1.0, 0.0), (artery, ratio, 0.09)):
        for up in (-1.0, 1.0):
            for outward in (-1.0, 1.0):
                # outward -1: towards the macula (temporal), +1: nasal
                heading = np.arctan2(up * (1.25 + 0.2 * rng.normal()), sign * outward * (0.55 if outward < 0 else 0.7))
                bend = -up * sign * outward * (0.0150 if outward < 0 else 0.004)
                todo = [
                    (disc, float(heading + offset * up), wide * factor * (1.0 if outward < 0 else 0.75), float(bend), 0)
                ]
                while todo:
                    at, angle, r, curve, level = todo.pop()
                    length = int(rng.integers(34, 52) / (1 + 0.30 * level))
                    step = 0.0105 * n
                    points = np.empty((length, 2), np.float32)
                    radii = np.empty(length, np.float32)
                    py, px = at
                    noise = rng.normal(0, twist, length)
                    for k in range(length):
                        points[k] = (py, px)
                        radii[k] = r * (1 - 0.30 * k / length)
                        angle += curve + noise[k]
                        # Vessels steer around the centre of the macula.
                        gy, gx = py - macula[0], px - macula[1]
                        d = float(np.hypot(gy, gx))
                        if d < 0.12 * n:
                            side = np.sin(angle) * gx - np.cos(angle) * gy
                            angle += 0.22 * (-1 if side > 0 else 1) * -1
                            if d < 0.045 * n:
                                points, radii = points[: k + 1], radii[: k + 1]
                                break
                        py += step * float(np.sin(angle))
                        px += step * float(np.cos(angle))
                        if level < 3 and r > 0.0020 * n and k > 3 and rng.random() < 0.060:
                            turn = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.45, 0.95))
                            todo.append(
                                (
                                    (py, px),
                                    angle + turn,
                                    r * (1 - 0.3 * k / length) * float(rng.uniform(0.45, 0.72)),
                                    curve * 0.3,
                                    level + 1,
                                )
                            )
                    every = 3 if n < 200 else 1
                    stroke(cover, points[::every], radii[::every], soft)
                    if level < 2 and r > 0.002 * n and len(points) > 5:
                        spread = float(rng.uniform(0.22, 0.5))
                        todo.append(((py, px), angle + spread, r * 0.55, curve * 0.5, level + 1))
                        todo.append(((py, px), angle - spread, r * 0.5, curve * 0.5, level + 1))
    return artery, vein, ratio


def _lesions(
    brief: Brief, image: Array, fov: Array, disc: tuple[float, float, float], macula: tuple[float, float]
) -> list[Part]:
    n = image.shape[0]
    shape = (n, n)
    parts = []
    strength = float(np.clip(brief.contrast, 0, 1.2))
    styles = {
        "drusen": ((0.98, 0.83, 0.42), (0.007, 0.014), 0.62, 0.17),
        "hard exudates": ((1.0, 0.93, 0.55), (0.006, 0.012), 0.95, 0.30),
        "retinal haemorrhages": ((0.36, 0.04, 0.02), (0.010, 0.024), 0.85, 0.40),
        "microaneurysms": ((0.42, 0.05, 0.03), (0.0055, 0.0075), 0.85, 0.36),
    }
    for name, (colour, (low, high), alpha, reach) in styles.items():
        f = brief.get(name)
        if f is None:
            continue
        rng = brief.body("lesion", name)
        radii = rng.uniform(low, high, 64)[: f.count] * n
        radii = np.maximum(radii, 1.0)
        places = _spots(rng, f.count, radii, macula, reach * n, (disc[0], disc[1], disc[2] * 1.25), n)
        for (py, px), r in zip(places, radii, strict=True):
            rough = wobble(rng, 0.13 if name in ("retinal haemorrhages", "hard exudates") else 0.06, 5)
            stretch = float(rng.uniform(0.75, 1.25)) if name == "retinal haemorrhages" else 1.0
            w = window(py, px, 2.2 * r + 3, shape)
            if w is None:
                continue
            where, dy, dx = w
            edge = {"drusen": 2.0, "retinal haemorrhages": 1.8}.get(name, 1.2) * max(1.0, n / 256)
            cover = star_local(dy, dx, r * stretch, r / stretch, 0.0, rough, edge) * fov[where]
            part = image[where]
            mix(part, colour, cover * alpha * strength)
            mask = np.zeros(shape, bool)
            mask[where] = cover > 0.4
            if not mask.any():
                mask[int(np.clip(py, 0, n - 1)), int(np.clip(px, 0, n - 1))] = True
            parts.append(Part(name, mask, granularity="lesion", finding=name))
    return parts


def _spots(
    rng: np.random.Generator,
    count: int,
    radii: Array,
    macula: tuple[float, float],
    reach: float,
    disc: tuple[float, float, float],
    n: int,
) -> Array:
    """Places around the macula, clear of the disc and of each other, inside the field."""
    out = np.zeros((count, 2))
    for i in range(count):
        best, best_gap = out[i], -np.inf
        for _ in range(14):
            angle, d = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform(0.02, 1))
            p = np.asarray((macula[0] + d * np.sin(angle), macula[1] + d * np.cos(angle)))
            gap = 0.44 * n - float(np.hypot(p[0] - n / 2, p[1] - n / 2))
            gap = min(gap, float(np.hypot(p[0] - disc[0], p[1] - disc[1])) - disc[2] - radii[i])
            if i:
                gap = min(gap, float((np.hypot(*(out[:i] - p).T) - 1.5 * (radii[:i] + radii[i])).min()))
            if gap > best_gap:
                best, best_gap = p, gap
            if gap > 0:
                break
        out[i] = best
    return out
