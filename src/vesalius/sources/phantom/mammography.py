"""Mammography: both breasts under compression, CC and MLO, with masses, spicules and clusters of calcification.

Both views are pictures of one breast: a lesion has one place (depth behind the nipple, outward, upward), of which the
CC view shows depth and outward and the MLO view depth and upward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Finding, Part, Picture
from vesalius.sources.phantom.paint import fractal, smooth, star, stroke, wobble

#: Millimetres across and down.
FIELD_MM = 165.0
VIEWS = ("CC", "MLO")
_LETTERS = {
    "R": ("110", "101", "110", "101", "101"),
    "L": ("100", "100", "100", "100", "111"),
    "C": ("011", "100", "100", "100", "011"),
    "M": ("101", "111", "111", "101", "101"),
    "O": ("010", "101", "101", "101", "010"),
}


@dataclass(frozen=True)
class Breast:
    """One breast in one view, in pixels from the chest wall's upper end: x towards the nipple, y down.

    Args:
        inside: `(H, W)` where it is.
        depth: `(H, W)` share of the way from the chest wall (0) to the skin (1).
        skin: `(H, W)` distance to the skin.
        thick: `(H, W)` relative thickness under the paddle, falling off to the skin.
        nipple: Row and column.
        half: Half its height.
    """

    inside: Array
    depth: Array
    skin: Array
    thick: Array
    nipple: tuple[float, float]
    half: float


def draw(brief: Brief) -> Picture:
    """Four films, right and left, CC and MLO, uint8 grey."""
    images: list[Image] = []
    parts: list[Part] = []
    build = brief.body("breast")
    density = int(build.choice(4, p=(0.15, 0.4, 0.35, 0.1))) + 1
    n = brief.size
    specks = 0
    for side in ("right", "left"):
        for view in VIEWS:
            film, found, count = _film(brief, side, view, density)
            # The chest wall of the right breast is on the right of the film.
            flip = side == "right"
            film = np.ascontiguousarray(film[:, ::-1]) if flip else film
            _mark(film, f"{side[0].upper()}{view}", right=not flip)
            k = len(images)
            for part in found:
                mask = np.ascontiguousarray(part.mask[:, ::-1]) if flip else part.mask
                parts.append(
                    Part(part.label, mask, k, part.granularity, part.finding, {**part.attributes, "side": side})
                )
            specks = max(specks, count)
            images.append(
                Image(
                    array=film,
                    modality="MG",
                    view=view,
                    kind="2d",
                    spacing=(FIELD_MM / n, FIELD_MM / n),
                    body_part="breast",
                    meta={"laterality": side[0].upper()},
                )
            )
    labels = {
        "breast density": Label(density, unit="{grade}", source="phantom"),
        "BI-RADS": Label(birads(brief.findings), source="phantom"),
        "calcification count": Label(specks, unit="{calcifications}", source="phantom"),
    }
    return Picture(tuple(images), tuple(parts), brief.findings, labels)


def birads(findings: tuple[Finding, ...]) -> int:
    """Category by rule: 1 nothing, 2 skin thickening, 3 smooth mass, 4 calcifications, 5 spiculated mass."""
    names = {f.name for f in findings}
    ranks = {"skin thickening": 2, "circumscribed mass": 3, "microcalcifications": 4, "spiculated mass": 5}
    return max((r for name, r in ranks.items() if name in names), default=1)


def _film(brief: Brief, side: str, view: str, density: int) -> tuple[Array, list[Part], int]:
    n = brief.size
    mm = n / FIELD_MM
    breast = _outline(brief, side, view, mm)
    rng = brief.body("gland", side, view)
    gland = _gland(rng, breast, density, n)
    # At 20 keV glandular tissue takes away nearly twice as much as fat (Johns and Yaffe 1987).
    film = breast.thick * (0.27 + 0.40 * gland + 0.018 * fractal(rng, (n, n), 10, 4, 0.7) * (1 - gland))
    parts = [Part("breast", breast.inside), Part("glandular tissue", (gland > 0.5) & breast.inside)]
    if view == "MLO":
        muscle = _pectoral(brief, side, breast, n)
        film = np.maximum(film, muscle * (0.54 + 0.03 * smooth(rng, (n, n), (14, 4))) * np.minimum(breast.thick * 3, 1))
        parts.append(Part("pectoral muscle", (muscle > 0.5) & breast.inside))
    thick_skin = brief.get("skin thickening")
    swollen = thick_skin is not None and thick_skin.side == side
    wide = (thick_skin.size if thick_skin is not None and swollen else 1.4) * mm
    band = np.clip((wide - breast.skin) / max(0.6 * wide, 0.7) + 0.5, 0, 1) * breast.inside
    film += band * (0.14 if not swollen else 0.30 * min(1.1, brief.contrast))
    if thick_skin is not None and swollen:
        mask = breast.inside & (breast.skin <= max(wide, 1.0))
        parts.append(Part("skin thickening", mask, granularity="lesion", finding=thick_skin.name))
    ry, rx = breast.nipple
    film += 0.16 * star((n, n), ry, rx, 4.0 * mm, 3.0 * mm, 0.0, wobble(rng, 0.02, 3), 1.5)
    count = 0
    for f in brief.findings:
        if f.side == side and f.name != "skin thickening":
            more, made = _lesion(brief, f, film, breast, view, mm)
            parts += more
            count = max(count, made)
    noise = brief.visit("noise", side, view).standard_normal((n, n), dtype=np.float32)
    # Quanta are few where much is absorbed; the detector blurs them a little.
    level = np.float32(0.016 * brief.noise * brief.patient.device.noise)
    film = film + level * noise * np.sqrt(np.clip(film, 0.02, None))
    if brief.patient.device.blur > 0:
        film = gaussian_filter(film, 0.6 * brief.patient.device.blur * n / 256)
    tone = np.clip(film * 1.12 * brief.patient.device.gain, 0, 1) ** np.float32(0.95 * brief.patient.device.gamma)
    return np.asarray((tone * 248 + 4).astype(np.uint8)), parts, count


def _outline(brief: Brief, side: str, view: str, mm: float) -> Breast:
    n = brief.size
    build, own = brief.body("breast size"), brief.body("breast", side)
    full = float(np.clip(78 + 1.3 * (brief.patient.bmi - 25) + build.normal(0, 11), 52, 118))
    reach = full * float(own.uniform(0.95, 1.05)) * (1.0 if view == "CC" else 1.06)
    half = reach * float(build.uniform(0.78, 0.9)) if view == "CC" else min(reach * 0.92, 74.0)
    pose = brief.visit("pose", side, view)
    middle = n * (0.5 if view == "CC" else 0.54) + float(pose.uniform(-3, 3)) * mm
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) + 0.5
    v = (y - middle) / np.float32(half * mm)
    if view == "MLO":
        # Above the nipple the outline runs up to the armpit, below it sags.
        v = np.where(v < 0, v * 0.74, v * 1.12)
    edge = reach * mm * np.clip(1 - np.abs(v) ** (2.2 if view == "CC" else 2.0), 0, None) ** 0.56
    edge *= 1 + 0.012 * smooth(own, (n,), 6)[:, None]
    if view == "MLO":
        edge = np.where(v < 0, np.maximum(edge, (0.30 - 0.16 * v) * reach * mm * (v > -1.35)), edge)
    inside = x < edge
    depth = np.clip(x / np.maximum(edge, 1), 0, 1)
    skin = distance_transform_edt(inside)
    rim = skin / (13 * mm)
    thick = np.sqrt(np.clip(rim, 0, 1) * (2 - np.clip(rim, 0, 1))) * inside
    tip = float(edge[int(np.clip(middle, 0, n - 1))][0])
    return Breast(inside, depth, skin, np.asarray(thick, np.float32), (middle, tip), half * mm)


def _gland(rng: np.random.Generator, breast: Breast, density: int, n: int) -> Array:
    """Share of glandular tissue: a fan behind the nipple of clouds and strands that run towards it."""
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) + 0.5
    ny, nx = breast.nipple
    v = (y - ny + 0.10 * breast.half) / np.float32(breast.half)
    fan = np.exp(-((v / 0.62) ** 2)) * np.clip((0.97 - breast.depth) / 0.2, 0, 1) * np.clip(breast.depth / 0.35, 0.2, 1)
    clouds = fractal(rng, (n, n), 5, 5, 0.72)
    # Strands: ridges of noise drawn out along the rays from the nipple.
    angle = np.arctan2(y - ny, nx * 1.15 - x + 1e-3)
    ray = np.hypot(y - ny, nx * 1.15 - x) / n
    tables = [rng.standard_normal(200).astype(np.float32) for _ in range(3)]
    strands = np.zeros((n, n), np.float32)
    bend = 0.16 * fractal(rng, (n, n), 7, 3)
    for k, table in zip((7.0, 13.0, 22.0), tables, strict=True):
        at = ((angle + bend) * k + 1.5 * np.sin(ray * 9 + k) + 90) % 199
        i = at.astype(np.intp)
        strands += np.abs(table[i] + (table[i + 1] - table[i]) * (at - i)) / 3
    ridge = np.clip(1.05 - 2.4 * strands, 0, 1) * np.clip(0.6 + 0.6 * fractal(rng, (n, n), 9, 2), 0, 1.4) * np.sqrt(fan)
    level = (-1.55, -0.95, -0.30, 0.55)[density - 1]
    body = 1 / (1 + np.exp(-(1.35 * clouds + level + 2.1 * (fan - 0.45)) * 2.2))
    share = np.clip(body * np.sqrt(fan) + (0.26 + 0.08 * density) * ridge, 0, 1.1)
    return np.asarray(gaussian_filter(share, 0.5 * n / 256), np.float32)


def _pectoral(brief: Brief, side: str, breast: Breast, n: int) -> Array:
    """The chest muscle: a wedge at the top of the MLO view that narrows to the level of the nipple."""
    rng = brief.body("pectoral", side)
    top, end = n * float(rng.uniform(0.26, 0.36)), breast.nipple[0] * float(rng.uniform(0.86, 1.02))
    y, x = np.arange(n, dtype=np.float32)[:, None], np.arange(n, dtype=np.float32)[None, :]
    t = np.clip(1 - y / end, 0, 1)
    line = top * t**0.9 * (1 + 0.10 * np.sin(np.pi * t))
    return np.asarray(np.clip((line - x) / (0.03 * n) + 0.5, 0, 1) * (t > 0))


def place(brief: Brief, f: Finding) -> tuple[float, float, float]:
    """One place for both views: depth from the chest wall (0..1), outward and upward (-1..1 of the half height)."""
    rng = brief.body("lesion", f.name)
    depth = float(rng.uniform(0.34, 0.62))
    outward, upward = (float(rng.uniform(0.14, 0.46)) for _ in range(2))
    return depth, outward * (1 if "outer" in f.zone else -1), upward * (1 if "upper" in f.zone else -1)


def _lesion(brief: Brief, f: Finding, film: Array, breast: Breast, view: str, mm: float) -> tuple[list[Part], int]:
    n = film.shape[0]
    depth, outward, upward = place(brief, f)
    cy = breast.nipple[0] - (outward if view == "CC" else upward) * breast.half
    row = int(np.clip(cy, 0, n - 1))
    cx = depth * float(breast.inside[row].sum())
    r = max(f.size / 2 * mm, 1.0)
    rng = brief.body("lesion shape", f.name, view)
    gain = np.float32(min(1.2, brief.contrast))
    facts: dict[str, str | float] = {"size_mm": f.size}
    if f.name == "microcalcifications":
        return _calcifications(brief, f, film, breast, (cy, cx, r), view, mm)
    if f.name == "circumscribed mass":
        cover = star(
            (n, n), cy, cx, r * float(rng.uniform(0.82, 0.95)), r, float(rng.uniform(0, 3)), wobble(rng, 0.03, 4), 1.2
        )
        film += cover * breast.inside * (0.20 * gain)
        mask = cover > 0.5
    else:
        core = star((n, n), cy, cx, 0.62 * r, 0.58 * r, 0.0, wobble(rng, 0.12, 7), 2.0)
        rays = np.zeros((n, n), np.float32)
        for a in np.arange(14) * (2 * np.pi / 14) + rng.uniform(-0.18, 0.18, 14):
            reach = r * float(rng.uniform(0.75, 1.0))
            steps = np.linspace(0.3 * r, reach, 6)
            bend = a + 0.12 * float(rng.normal()) * np.linspace(0, 1, 6)
            points = np.stack([cy + steps * np.sin(bend), cx + steps * np.cos(bend)], 1)
            stroke(rays, points, np.linspace(0.75, 0.25, 6) * max(mm, 0.5), 1.0)
        film += np.maximum(core, 0.62 * rays) * breast.inside * (0.26 * gain)
        mask = (core > 0.5) | (rays > 0.4)
    mask = _at_least(mask & breast.inside, breast, cy, cx)
    return [Part(f.name, mask, granularity="lesion", finding=f.name, attributes=facts)], 0


def _calcifications(
    brief: Brief, f: Finding, film: Array, breast: Breast, at: tuple[float, float, float], view: str, mm: float
) -> tuple[list[Part], int]:
    """A cluster of bright specks; each lies at one depth, so both views show them in the same columns."""
    n = film.shape[0]
    cy, cx, r = at
    rng = brief.body("lesion shape", f.name)
    count = 5 + round(12 * f.score)
    places = rng.uniform(-1, 1, (count, 3))
    places *= (rng.uniform(0.1, 1, count) ** 0.5 / np.maximum(np.linalg.norm(places, axis=1), 1e-6))[:, None]
    cluster = star((n, n), cy, cx, r, r, 0.0, wobble(rng, 0.05, 5), 1.0) > 0.5
    parts = [
        Part(
            f.name,
            _at_least(cluster & breast.inside, breast, cy, cx),
            granularity="lesion",
            finding=f.name,
            attributes={"size_mm": f.size, "specks": count},
        )
    ]
    gain = np.float32(min(1.15, brief.contrast))
    for deep, out, up in places:
        y, x = cy + (out if view == "CC" else up) * 0.85 * r, cx + deep * 0.85 * r
        size = float(rng.uniform(0.25, 0.55)) * mm
        dot = star((n, n), y, x, max(size, 0.55), max(size, 0.55), 0.0, wobble(rng, 0.05, 2), 0.9)
        film += dot * breast.inside * gain * np.float32(0.42 * min(1.0, 0.5 + size))
        mask = _at_least((dot > 0.4) & breast.inside, breast, y, x)
        parts.append(Part("calcification", mask, granularity="calcification", finding=f.name))
    return parts, count


def _at_least(mask: Array, breast: Breast, cy: float, cx: float) -> Array:
    """The mask, or where it is empty the pixel of the breast nearest to a centre."""
    if not mask.any():
        where = np.argwhere(breast.inside)
        y, x = where[int(((where + 0.5 - (cy, cx)) ** 2).sum(1).argmin())]
        mask[y, x] = True
    return mask


def _mark(film: Array, words: str, *, right: bool) -> None:
    """Laterality and view, burned in on the side of the film without chest wall."""
    n = film.shape[0]
    k = max(1, round(n / 160))
    rows = ["0".join(_LETTERS[c][line] for c in words) for line in range(5)]
    glyph = np.asarray([[c == "1" for c in row] for row in rows])
    glyph = np.kron(glyph, np.ones((k, k), bool))
    h, w = glyph.shape
    y0 = round(0.05 * n)
    x0 = n - w - y0 if right else y0
    film[y0 : y0 + h, x0 : x0 + w][glyph] = 230
