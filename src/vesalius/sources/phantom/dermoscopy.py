"""Dermoscopy: a lesion with asymmetry, border, colours and structures, and a diagnosis by the ABCD rule."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import (
    fractal,
    grid,
    mix,
    smooth,
    star,
    star_local,
    stroke,
    to_bytes,
    window,
    wobble,
)

#: Millimetres across the image.
FIELD_MM = 20.0
COLOURS = {
    "light brown": (0.66, 0.43, 0.28),
    "dark brown": (0.36, 0.20, 0.13),
    "black": (0.13, 0.08, 0.07),
    "red": (0.72, 0.32, 0.28),
    "blue-grey": (0.40, 0.43, 0.52),
    "white": (0.88, 0.80, 0.76),
}


def total_score(asymmetry: int, border: int, colours: int, structures: int) -> float:
    """Total dermoscopy score of Stolz's ABCD rule: 1.3 A + 0.1 B + 0.5 C + 0.5 D; above 5.45 speaks for melanoma."""
    return round(1.3 * asymmetry + 0.1 * border + 0.5 * colours + 0.5 * structures, 2)


def draw(brief: Brief) -> Picture:
    """One dermoscopy image, uint8 RGB."""
    n = brief.size
    shape = (n, n)
    rng, pose = brief.body("skin"), brief.visit("pose")
    tumour, veil, globules = brief.get("melanoma"), brief.get("blue-white veil"), brief.get("dots and globules")
    y, x = grid(n, n)
    tone = float(rng.uniform(0, 1))
    skin = np.asarray((0.93 - 0.28 * tone, 0.74 - 0.30 * tone, 0.64 - 0.32 * tone), np.float32)
    image = skin * (1 + 0.022 * fractal(rng, shape, 7, 3))[..., None]
    image += (0.020 * smooth(rng, shape, n // 4))[..., None]
    image *= (1.06 - 0.55 * ((y - 0.5) ** 2 + (x - 0.5) ** 2))[..., None]
    image[..., 0] += 0.012 * smooth(rng, shape, 9)
    # ABCD: the numbers come first, the picture follows them.
    bad = tumour is not None
    score = tumour.score if tumour is not None else 0.0
    asymmetry = 2 if bad else int(rng.random() < 0.3)
    border = int(rng.integers(4, 9)) if bad else int(rng.integers(0, 3))
    wanted = int(rng.integers(4, 6)) if bad else int(rng.integers(1, 3))
    structures = (4 if score > 0.5 else 3) if bad else 1
    structures += int(globules is not None)
    names = ["light brown", "dark brown"]
    names += [c for c in (("black", "red", "white", "blue-grey") if bad else ("red",)) if c not in names]
    used = names[:wanted]
    if veil is not None and "blue-grey" not in used:
        used = [*used, "blue-grey"]
    size_mm = tumour.size if tumour is not None else float(rng.uniform(4.5, 9.0))
    cy, cx = (0.5 + float(v) for v in pose.uniform(-0.05, 0.05, 2))
    aspect = float(rng.uniform(0.72, 0.95))
    angle = float(rng.uniform(0, np.pi))
    r = size_mm / FIELD_MM * n / 2
    wave = wobble(rng, 0.035 + 0.10 * (asymmetry / 2) * (0.5 + 0.5 * min(1.0, brief.contrast)), 4)
    fine = wobble(rng, 0.012 + 0.012 * border, 14)
    both = (np.concatenate([wave[0], fine[0][4:]]), np.concatenate([wave[1], fine[1][4:]]))
    soft = (0.028 if not bad else 0.015) * n
    cover = star(shape, cy * n, cx * n, r * aspect, r, angle, both, max(1.5, soft))
    mask = star(shape, cy * n, cx * n, r * aspect, r, angle, both, 0.01) > 0.5
    texture = fractal(rng, shape, 10, 3)
    main = np.asarray(COLOURS["light brown"], np.float32) * (0.70 + 0.3 * float(rng.uniform())) * (1 - 0.3 * tone)
    depth = np.clip(cover, 0, 1) * (0.86 + 0.08 * texture)
    mix(image, main, np.clip(depth, 0, 1))
    parts = [Part("lesion", mask, granularity="organ"), Part("skin", np.ones(shape, bool), granularity="field")]
    for k, name in enumerate(used[1:]):
        field = smooth(rng, shape, 4)
        lean = (x - cx) * np.cos(angle + 2 * k) + (y - cy) * np.sin(angle + 2 * k) if asymmetry else 0.0
        patch = np.clip((0.9 * field + 0.5 * texture + 3.2 * lean - (0.2 if k == 0 else 0.8)) * 0.9, 0, 1) * cover
        if name == "blue-grey" and veil is not None:
            continue
        mix(image, COLOURS[name], patch * (0.6 if name in ("white", "red") else 0.85))
    # Pigment network: a net of dark lines, regular when benign.
    pitch = n / FIELD_MM * 0.75
    wx, wy = (fractal(rng, shape, 5, 2) * pitch * (0.75 if bad else 0.3) for _ in range(2))
    u, v = x * n + wx, y * n + wy
    net = np.maximum(np.cos(2 * np.pi * u / pitch), np.cos(2 * np.pi * (0.5 * u + 0.866 * v) / pitch))
    net = np.maximum(net, np.cos(2 * np.pi * (0.5 * u - 0.866 * v) / pitch))
    ring = np.clip(cover * (1.35 - 0.5 * cover), 0, 1)
    image *= 1 - (0.22 * np.clip(net - 0.35, 0, 1) * ring)[..., None]
    if veil is not None:
        w = veil.size / FIELD_MM * n / 2
        w = min(w, 0.55 * r * aspect)
        f = brief.body("lesion", veil.name)
        at = (cy * n + float(f.uniform(-0.2, 0.2)) * r * aspect, cx * n + float(f.uniform(-0.2, 0.2)) * r)
        cov = star(shape, *at, w, w * 1.15, 0.4, wobble(f, 0.15, 5), max(2.0, 0.02 * n)) * cover
        mix(image, COLOURS["blue-grey"], cov * 0.85 * min(1.1, brief.contrast + 0.1))
        image += (0.05 * cov * np.clip(smooth(f, shape, 12), 0, None))[..., None]
        parts.append(Part("blue-white veil", (cov > 0.4) & mask, granularity="lesion", finding=veil.name))
    if globules is not None:
        g = brief.body("lesion", globules.name)
        spots = np.zeros((globules.count, 2))
        radius = max(1.3, 0.011 * n)
        for i in range(globules.count):
            best = -np.inf
            for _ in range(16):
                a, d = g.uniform(0, 2 * np.pi), np.sqrt(g.uniform(0.02, 0.72)) * r * aspect
                p = np.asarray((cy * n + d * np.sin(a), cx * n + d * np.cos(a)))
                inside = bool(mask[int(np.clip(p[0], 0, n - 1)), int(np.clip(p[1], 0, n - 1))])
                gap = float(np.hypot(*(spots[:i] - p).T).min()) - 2.6 * radius if i else 1.0
                gap = gap if inside else gap - 1e3
                if gap > best:
                    best, spots[i] = gap, p
                if gap > 0:
                    break
            w_ = window(spots[i][0], spots[i][1], radius * 2 + 2, shape)
            spot = np.zeros(shape, bool)
            if w_ is not None:
                where, dy, dx = w_
                c = star_local(dy, dx, radius, radius, 0.0, wobble(g, 0.05, 3), 1.2)
                mix(image[where], (0.20, 0.11, 0.08), c * 0.85 * min(1.0, brief.contrast))
                spot[where] = c > 0.45
            parts.append(Part("dots and globules", spot & mask, granularity="lesion", finding=globules.name))
    if tumour is not None:
        parts.append(
            Part("melanoma", mask, granularity="lesion", finding=tumour.name, attributes={"size_mm": tumour.size})
        )
    _hair_and_gel(brief, image, shape)
    image += brief.visit("noise").standard_normal(image.shape, dtype=np.float32) * np.float32(0.010 * brief.noise)
    step = FIELD_MM / n
    picture = Image(
        array=to_bytes(image), modality="DMS", view="CLOSE-UP", kind="2d", spacing=(step, step), body_part="skin"
    )
    colours = len(used)
    labels = {
        "asymmetry": Label(asymmetry, source="phantom"),
        "border score": Label(border, source="phantom"),
        "colours": Label(colours, source="phantom"),
        "structures": Label(structures, source="phantom"),
        "ABCD score": Label(total_score(asymmetry, border, colours, structures), source="phantom"),
        "lesion size": Label(round(size_mm, 1), unit="mm", source="phantom"),
    }
    return Picture((picture,), tuple(parts), brief.findings, labels)


def _hair_and_gel(brief: Brief, image: Array, shape: tuple[int, int]) -> None:
    rng = brief.visit("hair")
    n = shape[0]
    hairs = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(0, 9)) if rng.random() < 0.6 else 0):
        t = np.linspace(0, 1, 14)
        a, p = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2)
        reach, bend = rng.uniform(0.2, 0.5), rng.uniform(-0.15, 0.15)
        line_y = p[0] + reach * (t - 0.5) * np.sin(a) + bend * (t - 0.5) ** 2 * np.cos(a)
        line_x = p[1] + reach * (t - 0.5) * np.cos(a) - bend * (t - 0.5) ** 2 * np.sin(a)
        stroke(hairs, np.stack([line_y, line_x], 1) * n, np.full(14, max(0.45, 0.0030 * n)), 1.0)
    mix(image, (0.16, 0.11, 0.09), hairs * 0.85)
    if rng.random() < 0.35:
        # Dark corners of the contact plate.
        y, x = grid(n, n)
        rim = np.clip((np.sqrt((y - 0.5) ** 2 + (x - 0.5) ** 2) - float(rng.uniform(0.52, 0.62))) * 30, 0, 1)
        image *= 1 - 0.93 * rim[..., None]
