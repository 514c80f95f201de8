"""Panoramic film of the jaws: 32 teeth by FDI number with crown, roots and pulp; caries, fillings, impaction, gaps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import ellipse_local, fractal, grid, smooth, star_local, window, wobble

WIDTH_MM = 260.0
#: Widths in mm of teeth 1..8 (central incisor to third molar), upper and lower, and numbers of roots.
UPPER = (8.6, 6.8, 7.8, 7.2, 6.9, 10.2, 9.8, 9.0)
LOWER = (5.6, 6.1, 7.0, 7.2, 7.3, 11.2, 10.6, 10.2)
ROOTS = (1, 1, 1, 1, 1, 2, 2, 2)


def fdi(upper: bool, left: bool, number: int) -> str:
    """Two-digit FDI number: quadrant 1 upper right, 2 upper left, 3 lower left, 4 lower right."""
    quadrant = (2 if left else 1) if upper else (3 if left else 4)
    return f"{quadrant}{number}"


def draw(brief: Brief) -> Picture:
    """One panoramic film, uint8 grey, half as high as wide."""
    w_px = brief.size
    h_px = max(16, brief.size // 2)
    mm = w_px / WIDTH_MM
    shape = (h_px, w_px)
    rng, pose = brief.body("jaw"), brief.visit("pose")
    y, x = grid(h_px, w_px)
    ym, xm = y * (WIDTH_MM / 2), (x - 0.5) * WIDTH_MM
    smile = 0.0021 * float(rng.uniform(0.8, 1.25))
    mid = 62 + float(pose.uniform(-3, 3))

    def line(xx: Array) -> Array:
        """The biting line: a gentle smile."""
        return np.asarray(mid - smile * xx**2 + 4)

    image = np.full(shape, 0.10, np.float32)
    image += 0.16 * np.exp(-(((xm) / 26) ** 2)) * (0.7 + 0.3 * np.clip((ym - 20) / 80, 0, 1))  # the spine's ghost
    image += 0.10 * np.exp(-((xm / 118) ** 8)) + 0.03 * fractal(rng, shape, 4, 3)
    # Lower jaw: body below the teeth, angle and ramus at the sides, condyle on top.
    occl = line(xm)
    base = occl + 47 - 0.0010 * xm**2 + 0.05 * np.abs(xm)
    body = 1 / (1 + np.exp(-(ym - (occl + 9)) / 1.5)) / (1 + np.exp((ym - base) / 1.2)) * (np.abs(xm) < 100)
    ramus_x = 84 + 0.10 * (ym - 60)
    ramus = (
        np.exp(-(((np.abs(xm) - ramus_x) / 15) ** 6)) / (1 + np.exp(-(ym - 24) / 2)) / (1 + np.exp((ym - base) / 1.5))
    )
    condyle = np.exp(-((((np.abs(xm) - 91) / 7) ** 2 + ((ym - 21) / 9) ** 2) ** 2))
    trabecular = 1 + 0.10 * fractal(rng, shape, 40, 3)
    jaw = np.clip(np.maximum(np.maximum(body, ramus), condyle), 0, 1)
    image += jaw * 0.27 * trabecular
    image += 0.30 * np.exp(-(((ym - base + 1.6) / 1.6) ** 2)) * (np.abs(xm) < 96)  # lower cortex
    canal = occl + 30 - 0.0008 * xm**2
    image -= 0.07 * np.exp(-(((ym - canal) / 2.0) ** 2)) * (np.abs(xm) > 28) * (np.abs(xm) < 86)
    # Upper jaw, palate, sinuses.
    upper = np.clip(1 / (1 + np.exp(-(ym - 14) / 3)) / (1 + np.exp((ym - (occl - 8)) / 1.5)), 0, 1) * np.exp(
        -((xm / 76) ** 8)
    )
    image += upper * 0.20 * trabecular
    image += 0.20 * np.exp(-(((ym - (24 - 0.0008 * xm**2)) / 1.6) ** 2)) * (np.abs(xm) < 70)
    for s in (-1, 1):
        sinus = np.exp(-((((xm - s * 42) / 22) ** 2 + ((ym - 24) / 13) ** 2) ** 3))
        image -= 0.11 * sinus
        image -= 0.10 * np.exp(-((((xm - s * 8) / 5) ** 2 + ((ym - 20) / 15) ** 2) ** 2))
        image -= 0.16 * np.exp(-(((np.abs(xm - s * 108)) / 7) ** 4)) * (ym > 30)
    image -= 0.10 * np.exp(-(((ym - occl) / 1.8) ** 2)) * (np.abs(xm) < 70)
    state = _plan(brief)
    parts = [Part("mandible", jaw > 0.5), Part("teeth", np.zeros(shape, bool), granularity="field")]
    every = np.zeros(shape, bool)
    shown: list[Part] = []
    strength = float(min(1.15, brief.contrast + 0.05))
    for is_upper in (True, False):
        for left in (False, True):
            at = 0.6
            for number in range(1, 9):
                wide = (UPPER if is_upper else LOWER)[number - 1] * 0.98
                # Teeth at the back of the lower jaw are wider spread than in front.
                stretch = 1.06 if is_upper else 1.10
                centre = (at + wide / 2) * stretch
                at += wide
                name = fdi(is_upper, left, number)
                cx_mm = centre if left else -centre
                t = brief.body("tooth", name)
                if name in state["missing teeth"]:
                    gap = np.abs(xm - cx_mm) < wide * 0.42
                    o = line(np.asarray(cx_mm))
                    band = (ym < o - 1) & (ym > o - 13) if is_upper else (ym > o + 1) & (ym < o + 13)
                    shown.append(
                        Part(
                            "missing teeth",
                            gap & band,
                            granularity="lesion",
                            finding="missing teeth",
                            attributes={"tooth": name},
                        )
                    )
                    continue
                mask, extra = _tooth(
                    image,
                    t,
                    name,
                    (cx_mm, float(line(np.asarray(cx_mm)))),
                    wide,
                    is_upper,
                    left,
                    number,
                    mm,
                    state,
                    strength,
                )
                every |= mask
                parts.append(
                    Part(f"tooth {name}", mask, attributes={"tooth": name, "side": "left" if left else "right"})
                )
                shown += extra
    parts[1] = Part("teeth", every, granularity="field")
    image = gaussian_filter(image, 0.30 * mm / 1.2)
    image *= 0.92 + 0.10 * np.exp(-((xm / 70) ** 2))
    image += brief.visit("noise").standard_normal(shape, dtype=np.float32) * np.float32(0.014 * brief.noise)
    image += 0.01 * smooth(brief.visit("grain"), shape, 30)
    step = WIDTH_MM / w_px
    out = (np.clip(image * 1.12, 0, 1) * 245 + 4).astype(np.uint8)
    picture = Image(array=out, modality="PX", view="PANORAMIC", kind="2d", spacing=(step, step), body_part="jaw")
    labels = {"teeth present": Label(32 - len(state["missing teeth"]), unit="{teeth}", source="phantom")}
    for name, teeth in state.items():
        labels[f"{name} teeth"] = Label(" ".join(sorted(teeth)), source="phantom")
    return Picture((picture,), (*parts, *shown), brief.findings, labels)


def _plan(brief: Brief) -> dict[str, tuple[str, ...]]:
    """Which teeth have what; a tooth has one thing at most, and the order per finding does not depend on its count."""
    free = [fdi(u, s, k) for u in (True, False) for s in (True, False) for k in range(1, 9)]
    used: set[str] = set()
    out: dict[str, tuple[str, ...]] = {}
    thirds = ["18", "28", "38", "48"]
    for name in ("impacted tooth", "missing teeth", "dental restoration", "caries", "periapical lesion"):
        f = brief.get(name)
        if f is None:
            out[name] = ()
            continue
        c = brief.body("plan", name)
        pool = thirds if name == "impacted tooth" else [t for t in free if t not in thirds]
        if name in ("dental restoration", "caries"):
            pool = [t for t in pool if int(t[1]) >= 4]
        order = [pool[int(k)] for k in c.permutation(len(pool))]
        chosen = [t for t in order if t not in used][: f.count]
        used.update(chosen)
        out[name] = tuple(chosen)
    return out


def _tooth(
    image: Array,
    t: np.random.Generator,
    name: str,
    place: tuple[float, float],
    wide: float,
    upper: bool,
    left: bool,
    number: int,
    mm: float,
    state: dict[str, tuple[str, ...]],
    strength: float,
) -> tuple[Array, list[Part]]:
    shape = (image.shape[0], image.shape[1])
    cx_mm, cy_mm = place
    crown_h = (10.5 if number <= 3 else 8.0) * float(t.uniform(0.94, 1.06))
    root_h = (14.5 if number <= 3 else 13.0) * float(t.uniform(0.9, 1.08))
    down = -1.0 if upper else 1.0  # towards the root
    lean = float(t.normal(0, 0.05)) + (0.10 if left else -0.10) * (number / 8) * (1 if upper else -1)
    cx, cy = (cx_mm + WIDTH_MM / 2) * mm, (cy_mm + down * 1.0) * mm
    impacted = name in state["impacted tooth"]
    if impacted:
        lean = (0.95 if left else -0.95) * (1 if not upper else -1)
        cy += down * 10 * mm
        cx += (-1 if left else 1) * 2.0 * mm
    w = window(cy, cx, 30 * mm + 3, shape)
    mask = np.zeros(shape, bool)
    if w is None:
        return mask, []
    where, dy, dx = w
    c, s = np.cos(lean), np.sin(lean)
    # v runs from the crown (0) to the root tip, u across; both in mm.
    v = (dy * c * down + dx * s * down) / mm
    u = (dx * c - dy * s) / mm
    soft = 0.9 / mm
    neck = 0.80
    half = np.where(
        v < crown_h,
        wide / 2 * (neck + (1 - neck) * np.sqrt(np.clip(1 - ((v - 0.45 * crown_h) / (0.62 * crown_h)) ** 2, 0, 1))),
        0,
    )
    crown = np.clip((half - np.abs(u)) / soft + 0.5, 0, 1) * np.clip(v / soft + 0.3, 0, 1) * (v < crown_h + soft)
    roots = np.zeros_like(crown)
    pulp = np.zeros_like(crown)
    n_roots = ROOTS[number - 1]
    for k in range(n_roots):
        o = 0.0 if n_roots == 1 else (k - 0.5) * wide * 0.50
        q = np.clip((v - crown_h) / root_h, 0, 1)
        centre = o * (1 + 0.25 * q)
        width = (wide * neck / 2 / n_roots**0.8) * (1 - 0.72 * q**1.3)
        roots = np.maximum(
            roots,
            np.clip((width - np.abs(u - centre)) / soft + 0.5, 0, 1) * (v >= crown_h - 1) * (v < crown_h + root_h),
        )
        pulp = np.maximum(
            pulp,
            np.clip((0.55 * (1 - 0.6 * q) + 0.25 - np.abs(u - centre)) / soft + 0.3, 0, 1)
            * (v > crown_h * 0.9)
            * (v < crown_h + root_h * 0.93),
        )
    pulp = np.maximum(pulp, ellipse_local(v - 0.78 * crown_h, u, 0.22 * crown_h, 0.24 * wide, 0.0, soft))
    whole = np.maximum(crown, roots)
    view = image[where]
    # The dark ligament and bright lamina around the root.
    ring = np.clip(gaussian_filter(roots, 0.55 * mm) * 2, 0, 1) - roots
    view -= np.clip(ring, 0, 1) * 0.10
    view += whole * ((0.60 + 0.05 * t.normal()) - view)
    enamel = (
        crown
        * np.clip((v < 0.55 * crown_h) * 1.0, 0, 1)
        * np.clip((np.abs(u) / np.maximum(half, 0.1) > 0.62) | (v < 1.8), 0, 1)
    )
    view += gaussian_filter(enamel.astype(np.float32), 0.3 * mm) * 0.17
    view -= pulp * whole * 0.20
    mask[where] = whole > 0.5
    out: list[Part] = []

    def spot(label: str, cover: Array, level: float, inside: bool) -> None:
        region = np.zeros(shape, bool)
        hit = cover * (whole if inside else 1.0)
        view[...] += hit * strength * (level - view)
        if inside and mask.any():
            # The tooth's outline is drawn at one half, a little tighter.
            hit = np.where(mask[where], hit, -1)
        region[where] = hit > 0.4
        if not region.any():
            region[where] = hit >= hit.max()
        out.append(Part(label, region, granularity="lesion", finding=label, attributes={"tooth": name}))

    edge = 1.0 if t.random() < 0.5 else -1.0
    rough = wobble(t, 0.12, 5)
    if name in state["caries"]:
        spot("caries", star_local(v - 0.30 * crown_h, u - edge * 0.40 * wide, 2.2, 2.0, 0.0, rough, soft), 0.16, True)
    if name in state["dental restoration"]:
        spot("dental restoration", star_local(v - 0.22 * crown_h, u, 2.3, 0.30 * wide, 0.0, rough, soft), 1.0, True)
    if name in state["periapical lesion"]:
        o = 0.0 if n_roots == 1 else -0.5 * wide * 0.50 * 1.25
        spot("periapical lesion", star_local(v - crown_h - root_h, u - o, 2.9, 2.9, 0.0, rough, 1.2), 0.12, False)
    if impacted:
        out.append(
            Part(
                "impacted tooth",
                mask.copy(),
                granularity="lesion",
                finding="impacted tooth",
                attributes={"tooth": name},
            )
        )
    return mask, out
