"""Lesions of the trunk as intervals of depth, clipped to the organ that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.sources.phantom.anatomy import SIGN, Interval, Trunk, ellipsoid, meet
from vesalius.sources.phantom.model import Array, Brief, Finding


@dataclass(frozen=True)
class Lesion:
    """One lesion: its finding, number, intervals (their union) and what it does to the picture.

    Args:
        finding: The finding.
        number: 1, 2 ... among those of the finding.
        pieces: Intervals over the grid it was asked for; they may overlap.
        hu: Hounsfield units it has on CT.
        centre: Its middle in mm.
        size: Largest extent in mm.
    """

    finding: Finding
    number: int
    pieces: Sequence[Interval]
    hu: float
    centre: tuple[float, float, float]
    size: float


def lung_place(
    trunk: Trunk, rng: np.random.Generator, side: str, zone: str, radius: float
) -> tuple[float, float, float]:
    """A place in a lung, in the wanted third of its height, as clear of wall, heart and diaphragm as can be found."""
    low, high = trunk.domes[side] + 6, trunk.top - 14
    third = {"lower": 0, "middle": 1, "upper": 2}.get(zone, 1)
    z0, z1 = low + (high - low) * third / 3, low + (high - low) * (third + 1) / 3
    n = 48
    z = rng.uniform(z0 + 3, z1 - 3, n)
    a, b, yc = trunk.cage(z)
    inner = trunk.medial(z, side) + radius
    x = inner + (a - radius - inner) * rng.uniform(0.05, 0.95, n)
    y = yc + rng.uniform(-0.7, 0.7, n) * b
    wall = (1 - np.sqrt((x / a) ** 2 + ((y - yc) / b) ** 2)) * np.minimum(a, b) - radius
    s = SIGN[side]
    hx, _, hz = trunk.heart_centre
    heart = (
        np.hypot((s * x - hx) / (trunk.heart_radii[0] + radius), (z - hz) / (trunk.heart_radii[0] + radius)) - 1
    ) * 60
    dome = z - radius - trunk.dome_line(s * x, side)
    clear = np.minimum.reduce([wall, heart, dome, np.zeros(n)])
    best = int(np.argmax(clear))
    return float(s * x[best]), float(y[best]), float(z[best])


def cloud(
    rng: np.random.Generator, centre: tuple[float, float, float], radius: float
) -> list[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Overlapping ellipsoids (centre, radii) that make an irregular region of the given radius."""
    out = []
    for _ in range(6):
        d = rng.normal(0, 1, 3)
        d *= rng.uniform(0.15, 0.52) * radius / np.linalg.norm(d)
        r = radius * rng.uniform(0.38, 0.52)
        c = (centre[0] + float(d[0]), centre[1] + float(d[1]), centre[2] + float(d[2]))
        out.append((c, (r * float(rng.uniform(0.8, 1.1)), r, r * float(rng.uniform(0.8, 1.1)))))
    return out


def lung_lesions(trunk: Trunk, brief: Brief, x: Array, z: Array, lungs: dict[str, Interval]) -> list[Lesion]:
    """Nodules, masses, consolidations, atelectases over a grid, clipped to the lung's cage."""
    out: list[Lesion] = []
    for f in brief.findings:
        rng = brief.body("lesion", f.name)
        if f.name in ("nodule", "mass", "consolidation"):
            r = f.size / 2
            c = lung_place(trunk, rng, f.side, f.zone, r)
            cage = lungs[f.side]
            if f.name == "nodule":
                pieces = [meet(ellipsoid(x, z, c, (r, r, r)), cage)]
                hu = 40.0
            elif f.name == "mass":
                lobes = [(c, (0.82 * r, 0.82 * r, 0.82 * r))]
                for angle in rng.uniform(0, 2 * np.pi) + np.arange(5) * 1.26:
                    d = 0.52 * r
                    at = (c[0] + d * float(np.cos(angle)), c[1], c[2] + d * float(np.sin(angle)))
                    q = r * float(rng.uniform(0.36, 0.48))
                    lobes.append((at, (q, q, q)))
                pieces = [meet(ellipsoid(x, z, p, q), cage) for p, q in lobes]
                hu = 45.0
            else:
                pieces = [meet(ellipsoid(x, z, p, q), cage) for p, q in cloud(rng, c, r)]
                hu = 20.0
            out.append(Lesion(f, 1, pieces, hu, c, f.size))
        elif f.name == "atelectasis":
            s = SIGN[f.side]
            c = (s * 0.55 * trunk.half_width, 18.0, trunk.domes[f.side] + 26)
            tilt = s * float(rng.uniform(-0.35, 0.05))
            slab = ellipsoid(x, z, c, (f.size / 2, 42.0, 5.5 + 6 * f.score), tilt)
            out.append(Lesion(f, 1, [meet(slab, lungs[f.side])], 25.0, c, f.size))
    return out


def effusion_sides(f: Finding) -> tuple[str, ...]:
    """The sides that a finding is on."""
    return ("left", "right") if f.side == "bilateral" else (f.side,)


def effusion_level(trunk: Trunk, x: Array, side: str, size: float) -> Array:
    """Height (mm) of the fluid's upper edge on an upright film: a meniscus that climbs along the chest wall."""
    u = np.clip(np.abs(x) / np.float32(trunk.half_width), 0, 1)
    return np.asarray(trunk.domes[side] - 46 + 16 + size * (0.30 + 1.0 * u**3), np.float32)


def organ_lesions(trunk: Trunk, brief: Brief, x: Array, z: Array, organs: dict[str, Interval]) -> list[Lesion]:
    """Foci of liver and kidney, clipped to the organ."""
    out: list[Lesion] = []
    f = brief.get("liver lesion")
    if f is not None:
        rng = brief.body("lesion", f.name)
        w, b, t = trunk.half_width, trunk.half_depth, trunk.domes["right"]
        placed: list[tuple[Array, float]] = []
        for n in range(f.count):
            r = f.size / 2 * (1.0 if n == 0 else float(rng.uniform(0.5, 0.9)))
            best: tuple[float, Array] | None = None
            for _ in range(40):
                d = rng.normal(0, 1, 3)
                d *= rng.uniform(0, 1) ** (1 / 3) / np.linalg.norm(d)
                room = np.maximum(np.asarray((0.50 * w, 0.76 * b, 60)) - r, 2)
                p = d * room
                c = np.cos(0.30), np.sin(0.30)
                at = np.asarray((-0.40 * w + p[0] * c[0] - p[2] * c[1], -8 + p[1], t - 72 + p[0] * c[1] + p[2] * c[0]))
                gap = min([float(np.linalg.norm(at - q)) - s - r for q, s in placed], default=1.0)
                if best is None or gap > best[0]:
                    best = (gap, at)
                if gap > 8:
                    break
            if best is None:
                continue
            placed.append((best[1], r))
            centre = (float(best[1][0]), float(best[1][1]), float(best[1][2]))
            pieces = [meet(ellipsoid(x, z, centre, (r, r, r)), organs["liver"])]
            out.append(Lesion(f, n + 1, pieces, 10.0, centre, 2 * r))
    f = brief.get("renal cyst")
    if f is not None:
        rng = brief.body("lesion", f.name)
        s, r = SIGN[f.side], f.size / 2
        centre = (
            s * 0.47 * trunk.half_width + 6 * s,
            0.52 * trunk.half_depth - 3,
            -118 + 6 * s + float(rng.uniform(-18, 18)),
        )
        # A cyst may bulge out of the kidney; the kidney's own outline is widened by it.
        out.append(Lesion(f, 1, [ellipsoid(x, z, centre, (r, r, r))], 4.0, centre, f.size))
    return out
