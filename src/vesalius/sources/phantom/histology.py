"""Stained tissue: nuclei of known class and number, stroma and fat, rendered by optical density of the two stains."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import fractal, smooth, star_local, window, wobble

#: Millimetres across: 128 micrometres at 20x of a 256 px field.
FIELD_MM = 0.128
#: Optical density of haematoxylin and eosin in red, green, blue (near those of Macenko 2009).
STAINS = np.asarray(((0.620, 0.720, 0.330), (0.130, 0.780, 0.400)), np.float32)
#: Class: radius in micrometres, aspect, wobble, haematoxylin.
_CLASSES = {
    "tumour cell": (5.0, 0.80, 0.10, 0.95),
    "lymphocyte": (2.8, 0.92, 0.07, 1.30),
    "stroma cell": (4.8, 0.30, 0.08, 0.85),
    "mitosis": (3.6, 0.45, 0.30, 2.0),
}


def draw(brief: Brief) -> Picture:
    """One patch, uint8 RGB, every nucleus with its class."""
    n = brief.size
    shape = (n, n)
    rng = brief.body("tissue")
    px = n / (FIELD_MM * 1000)
    nests, immune, divide = brief.get("tumour nests"), brief.get("lymphocytic infiltrate"), brief.get("mitoses")
    field = fractal(rng, shape, 3, 2)
    share = 0.0 if nests is None else 0.45 + 0.25 * nests.score
    cut = float(np.quantile(field, 1 - share)) if share else np.inf
    nest = np.clip((field - cut) * 4 + 0.5, 0, 1) if share else np.zeros(shape, np.float32)
    # Stroma: fibres along a slowly turning direction, as ridges of warped noise.
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    turn = float(rng.uniform(0, np.pi))
    wx, wy = (0.10 * smooth(rng, shape, 3) for _ in range(2))
    along = (x + wx) * np.cos(turn) + (y + wy) * np.sin(turn)
    across = -(x + wx) * np.sin(turn) + (y + wy) * np.cos(turn)
    fibre = np.zeros(shape, np.float32)
    for k, amp in ((9, 0.5), (17, 0.5), (41, 0.45), (83, 0.40)):
        table = rng.standard_normal(256).astype(np.float32)
        at = (across * k + 0.35 * np.sin(along * 7 + k)) % 255
        i = at.astype(int)
        fibre += amp * (table[i] + (table[i + 1] - table[i]) * (at - i))
    grit = fractal(rng, shape, max(12, n // 6), 2, 0.9)
    eosin = 0.50 + 0.13 * fibre + 0.06 * fractal(rng, shape, 20, 2) + 0.13 * grit
    eosin += nest * (0.44 + 0.10 * fractal(rng, shape, 24, 3, 0.8) + 0.13 * grit - eosin)
    # Clefts that shrinkage leaves between bundles of fibres.
    gaps = np.clip(fibre * 1.6 - 2.1, 0, 1) * np.clip(fractal(rng, shape, 5, 2), 0, 1) * (1 - nest)
    eosin *= 1 - gaps
    haema = (
        0.10
        + 0.05 * fractal(rng, shape, max(16, n // 5), 3, 0.8)
        + nest * (0.24 + 0.08 * fractal(rng, shape, 12, 4, 0.8))
    )
    empty = np.zeros(shape, bool)
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 3))):
            # Fat cells: empty rounds.
            cy, cx, r = rng.uniform(0, n), rng.uniform(0, n), rng.uniform(14, 22) * px
            w = window(cy, cx, 1.3 * r, shape)
            if w is not None:
                where, dy, dx = w
                hole = star_local(dy, dx, r, r, 0, wobble(rng, 0.04, 4), 2)
                eosin[where] *= 1 - hole
                haema[where] *= 1 - hole
                nest[where] *= 1 - hole
                empty[where] |= hole > 0.3
    plan = {
        "tumour cell": 0 if nests is None else nests.count,
        "mitosis": 0 if divide is None else divide.count,
        "lymphocyte": int(rng.integers(2, 9)) if immune is None else immune.count,
        "stroma cell": int(rng.integers(10, 22)),
    }
    parts = [Part("tissue", np.ones(shape, bool), granularity="field"), Part("tumour nest region", nest > 0.5)]
    centres = np.zeros((0, 2))
    sizes = np.zeros(0)
    # Chromatin lies in clumps of about a micrometre.
    grain = 1 + 0.26 * fractal(rng, shape, max(4, min(n // 2, int(n / (2.2 * px + 1e-6)))), 2, 0.8)
    strength = np.float32(min(1.15, 0.5 + 0.5 * brief.contrast))
    wanted = {"tumour cell": "tumour nests", "mitosis": "mitoses", "lymphocyte": "lymphocytic infiltrate"}
    for name, count in plan.items():
        r0, aspect, rough, density = _CLASSES[name]
        c = brief.body("cells", name)
        for _ in range(count):
            r = r0 * px * float(np.exp(c.normal(0, 0.16 if name != "tumour cell" else 0.22)))
            at = _free(c, n, r, nest, name, centres, sizes, empty)
            centres, sizes = np.vstack([centres, at]), np.append(sizes, r * (0.6 + 0.4 * aspect))
            angle = float(c.uniform(0, np.pi)) if name != "stroma cell" else turn + float(c.normal(0, 0.25))
            w = window(at[0], at[1], 1.8 * r + 3, shape)
            mask = np.zeros(shape, bool)
            if w is not None:
                where, dy, dx = w
                cover = star_local(
                    dy, dx, max(r * aspect, 0.7), max(r, 0.9), angle, wobble(c, rough, 5), max(1.2, 2.2 * n / 256)
                )
                chroma = grain[where]
                edge = 1 + 0.5 * np.clip(1 - np.abs(cover - 0.6) * 2.5, 0, 1) if name == "tumour cell" else 1.0
                haema[where] += cover * (
                    density * strength * chroma * edge * float(np.exp(c.normal(0, 0.22))) - haema[where]
                )
                eosin[where] *= 1 - 0.45 * cover
                mask[where] = cover > 0.5
                if name == "tumour cell" and c.random() < 0.5:
                    dot = star_local(
                        dy + r * 0.2, dx - r * 0.15, 0.22 * r + 0.4, 0.22 * r + 0.4, 0, wobble(c, 0.02, 2), 1
                    )
                    haema[where] += dot * 0.9
            if not mask.any():
                mask[int(np.clip(at[0], 0, n - 1)), int(np.clip(at[1], 0, n - 1))] = True
            has = wanted.get(name, "")
            parts.append(Part(name, mask, granularity="cell", finding=has if brief.get(has) is not None else ""))
    stain = brief.visit("stain").uniform(0.8, 1.3, 2)
    od = haema[..., None] * STAINS[0] * float(stain[0]) + np.clip(eosin, 0, None)[..., None] * STAINS[1] * float(
        stain[1]
    )
    image = np.exp(-od * 1.1)
    image += brief.visit("noise").standard_normal(image.shape, dtype=np.float32) * np.float32(0.012 * brief.noise)
    step = FIELD_MM / n
    picture = Image(
        array=(np.clip(image, 0, 1) * 245 + 5).astype(np.uint8),
        modality="SM",
        kind="2d",
        spacing=(step, step),
        body_part="breast",
    )
    labels = {f"{name} count": Label(count, unit="{cells}", source="phantom") for name, count in plan.items()}
    return Picture((picture,), tuple(parts), brief.findings, labels)


def _free(
    rng: np.random.Generator, n: int, r: float, nest: Array, name: str, centres: Array, sizes: Array, empty: Array
) -> Array:
    """A place for one nucleus: in its own tissue, off the edge, as far from the others as a few tries allow."""
    best, best_gap = np.zeros(2), -np.inf
    inside = name in ("tumour cell", "mitosis")
    for _ in range(14):
        p = rng.uniform(r * 0.8, n - r * 0.8, 2)
        value = float(nest[int(p[0]), int(p[1])])
        gap = 0.0 if (value > 0.5) == inside or not nest.any() else -n
        if len(centres):
            gap += min(0.0, float((np.hypot(*(centres - p).T) - sizes - r).min()))
        gap -= n * bool(empty[int(p[0]), int(p[1])])
        if gap > best_gap:
            best, best_gap = p, gap
        if gap >= 0:
            break
    return best
