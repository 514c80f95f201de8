"""One trunk: every organ as an interval of depth over the frontal plane.

An organ is a pair of surfaces `front(x, z)`, `back(x, z)` in mm. A chest film needs only the interval's length, and
a volume only compares `y` with both surfaces, so the same anatomy gives films and volumes at any resolution without
ever building what is not asked for. Axes are patient LPS: `x` to the patient's left, `y` to the back, `z` to the head;
`z = 0` is near the top of the right half of the diaphragm, `x = y = 0` the middle of the chest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vesalius.sources.phantom.model import Array, Brief

Interval = tuple[Array, Array]
SIGN = {"right": -1.0, "left": 1.0}


def length(a: Interval) -> Array:
    """Millimetres along y."""
    return np.asarray(np.maximum(a[1] - a[0], 0))


def overlap(a: Interval, b: Interval) -> Array:
    """Millimetres that two intervals share."""
    return np.asarray(np.maximum(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0))


def meet(a: Interval, b: Interval) -> Interval:
    """The part of `a` inside `b` (empty where back <= front)."""
    return np.maximum(a[0], b[0]), np.minimum(a[1], b[1])


def where(a: Interval, inside: Array) -> Interval:
    """`a` where `inside`, else empty."""
    return a[0], np.where(inside, a[1], a[0])


def ellipsoid(
    x: Array, z: Array, centre: tuple[float, float, float], radii: tuple[float, float, float], tilt: float = 0.0
) -> Interval:
    """An ellipsoid with semi-axes `(x, y, z)`, turned by `tilt` radians in the frontal plane."""
    dx, dz = x - np.float32(centre[0]), z - np.float32(centre[2])
    if tilt:
        c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        dx, dz = dx * c + dz * s, dz * c - dx * s
    q = 1 - (dx / np.float32(radii[0])) ** 2 - (dz / np.float32(radii[2])) ** 2
    half = np.float32(radii[1]) * np.sqrt(np.maximum(q, 0))
    return np.float32(centre[1]) - half, np.float32(centre[1]) + half


@dataclass(frozen=True)
class Trunk:
    """The numbers (mm) that make one patient's trunk at one visit."""

    sex: str
    half_width: float
    half_depth: float
    top: float
    fat: float
    domes: Mapping[str, float]
    heart_centre: tuple[float, float, float]
    heart_radii: tuple[float, float, float]
    heart_tilt: float
    ctr: float
    shift: float
    knob: float
    rib_gap: float
    rib_drop: float
    rib_phase: float
    spleen: float
    breast: float
    arms_up: bool

    # -- outlines --------------------------------------------------------------------------------------------------

    def cage(self, z: Array) -> tuple[Array, Array, Array]:
        """Inner half width, half depth and centre depth of the rib cage at height z."""
        up = np.clip((z - 15) / np.float32(self.top + 9 - 15), 0, 1)
        shape = np.sqrt(np.maximum(1 - up**2.7, 0.004))
        low = np.clip((-z - 60) / 160, 0, 1)
        a = np.float32(self.half_width) * shape * (1 - 0.10 * low)
        b = np.float32(self.half_depth) * shape**0.8
        return a, b, np.asarray(0.10 * np.clip(z, 0, None), np.float32)

    def medial(self, z: Array, side: str) -> Array:
        """How far the lung's inner border is from the midline."""
        base = 18 + 8 * np.exp(-(((z - 150) / 45) ** 2)) + 7 * np.clip((z - 190) / 40, 0, 1)
        return np.asarray(base + (4 if side == "left" else 2) + SIGN[side] * self.shift, np.float32)

    def body(self, x: Array, z: Array) -> Interval:
        """The skin."""
        a, b, yc = self.cage(z)
        wide = np.maximum(a + 13 + self.fat, self.half_width * 0.92 + self.fat * 1.3 - 0.05 * np.abs(z))
        s = np.clip((z - 120) / 55, 0, 1)
        shoulder = self.half_width + 58 + self.fat * 0.5
        wide = wide + (np.maximum(shoulder, wide) - wide) * s * s * (3 - 2 * s)
        t = np.clip((z - (self.top - 27)) / 52, 0, 1)
        wide = wide + (52 + 0.25 * self.fat - wide) * t**0.55
        deep = np.maximum(b + 14 + 0.7 * self.fat, 56) * np.ones_like(x)
        low = np.clip((20 - z) / 60, 0, 1)
        deep = deep + low * np.maximum(self.half_depth + 14 + self.fat - deep, 0)
        q = np.sqrt(np.maximum(1 - (x / wide) ** 2, 0))
        half = deep * q**0.85
        return yc - half, yc + half

    def lung_cage(self, x: Array, z: Array, side: str) -> Interval:
        """The space for one lung before the organs in it are taken away."""
        a, b, yc = self.cage(z)
        out = x * np.float32(SIGN[side])
        q = 1 - (x / a) ** 2
        # Towards the midline the lung thins out in front of and behind the mediastinum.
        ramp = np.clip((out - self.medial(z, side) + 13) / 24, 0, 1)
        # The apex is a dome.
        apex = np.sqrt(np.clip((self.top - z) / 16, 0, 1))
        half = b * np.sqrt(np.maximum(q, 0)) * ramp**0.8 * apex
        ok = (q > 0) & (ramp > 0) & (z < self.top) & (z > self.domes[side] - 70)
        return where((yc - half, yc + half), ok)

    def dome(self, x: Array, z: Array, side: str) -> Interval:
        """The abdomen under one half of the diaphragm."""
        line = self.dome_line(x, side)
        _, b, yc = self.cage(z)
        half = 0.97 * b * np.sqrt(np.clip((line - z) / 34, 0, 1))
        ok = x * SIGN[side] > 0
        return where((yc - half, yc + half), ok)

    def dome_line(self, x: Array, side: str) -> Array:
        """Height of the diaphragm's outline in the frontal plane."""
        d = np.abs((x * np.float32(SIGN[side]) - 0.46 * self.half_width) / (0.54 * self.half_width))
        return np.asarray(self.domes[side] - 46 * np.minimum(d, 1.2) ** 2.3, np.float32)

    def heart(self, x: Array, z: Array) -> Interval:
        """Heart with the great vessels' root left out."""
        return ellipsoid(x, z, self.heart_centre, self.heart_radii, self.heart_tilt)

    def vessels(self, x: Array, z: Array) -> dict[str, Interval]:
        """Aorta in three pieces, pulmonary trunk, upper caval vein."""
        k, s = self.knob, self.shift
        descending = where(
            (
                34 - np.sqrt(np.maximum(k**2 - (x - (20 + s)) ** 2, 0)),
                34 + np.sqrt(np.maximum(k**2 - (x - (20 + s)) ** 2, 0)),
            ),
            z < 140,
        )
        arch = ellipsoid(x, z, (8 + s, 8, 142), (16 + k, 38, 7 + k * 0.9), -0.25)
        ascending = ellipsoid(x, z, (-12 + s, -22, 108), (k + 5, k + 4, 46), 0.12)
        trunk = ellipsoid(x, z, (27 + s, -25, 108), (20, 15, 22), 0.6)
        cava = ellipsoid(x, z, (-25 + s, 2, 150), (9, 9, 58), 0.05)
        return {"descending": descending, "arch": arch, "ascending": ascending, "trunk": trunk, "cava": cava}

    def trachea(self, x: Array, z: Array) -> dict[str, Interval]:
        """Air tubes: trachea and main bronchi."""
        c = self.shift * 0.8
        half = np.sqrt(np.maximum(81 - (x - c) ** 2, 0))
        tube = where((12 - half, 12 + half), (z > 133) & (z < self.top + 60))
        out: dict[str, Interval] = {"trachea": tube}
        for side, s in SIGN.items():
            d = s * (x - c)
            drop = 136 - d * (0.95 if side == "right" else 0.62)
            h = np.sqrt(np.maximum(36 - ((z - drop) * 0.78) ** 2, 0))
            out[side] = where((16 - h, 16 + h), (d > 0) & (d < 42))
        return out

    def abdomen(self, x: Array, z: Array) -> dict[str, Interval]:
        """Liver, spleen, kidneys, stomach and its gas."""
        w, b = self.half_width, self.half_depth
        r, le = self.domes["right"], self.domes["left"]
        liver = ellipsoid(x, z, (-0.40 * w, -8, r - 72), (0.56 * w, 0.84 * b, 68), 0.30)
        spleen = ellipsoid(
            x,
            z,
            (0.66 * w, 0.40 * b, le - 62),
            (24 + 0.06 * self.spleen, 30 + 0.06 * self.spleen, self.spleen / 2),
            -0.3,
        )
        out = {"liver": liver, "spleen": spleen}
        for side, s in SIGN.items():
            out[f"{side} kidney"] = ellipsoid(x, z, (s * 0.47 * w, 0.52 * b, -118 + 6 * s), (24, 21, 50), -0.18 * s)
        out["stomach"] = ellipsoid(x, z, (0.42 * w, -22, le - 52), (44, 34, 36), 0.5)
        return out

    # -- bones -----------------------------------------------------------------------------------------------------

    def rib_number(self, z: Array, cosine: Array) -> Array:
        """Real-valued rib number at height z and angle around the cage (cosine 1 = at the spine, -1 = in front)."""
        drop = self.rib_drop * (1 - cosine) / 2
        return np.asarray((self.top + 6 - self.rib_phase - z - drop) / np.float32(self.rib_gap))

    def ribs(self, x: Array, z: Array) -> dict[str, tuple[Array, Array]]:
        """Back and front halves: chord in mm along y, and the number (0 = first rib) of the rib there."""
        a, _, _ = self.cage(z)
        a = a + 4
        s = np.clip(np.abs(x) / a, 0, 1)
        c = np.sqrt(1 - s * s)
        out = {}
        for part, sign in (("back", 1.0), ("front", -1.0)):
            q = self.rib_number(z, sign * c)
            k = np.round(q)
            half = 6.3 / self.rib_gap * (1.12 if part == "front" else 1.0)
            e = np.clip(1 - ((q - k) / half) ** 2, 0, None)
            hollow = np.clip(1 - ((q - k) / (half * 0.72)) ** 2, 0, None)
            slant = 1 / np.maximum(c, 0.22)
            chord = (8.0 * np.sqrt(e) - 4.3 * np.sqrt(hollow)) * slant
            ok = (np.abs(x) < a) & (k >= 0) & (k <= 10)
            if part == "back":
                ok &= np.abs(x) > 16
            else:
                # Front ends turn to cartilage, which is hardly denser than muscle.
                ok &= (s > 0.42 + 0.03 * np.clip(k, 0, 9)) & (k <= 8)
            out[part] = (np.where(ok, chord, 0).astype(np.float32), k)
        return out

    def spine(self, x: Array, z: Array) -> Interval:
        """Bodies and arches of the vertebrae, broken by the discs."""
        height = 26.0
        phase = np.abs((z / height) % 1 - 0.5) * 2
        body = 17 + 2.5 * phase**2
        disc = phase > 0.86
        deep = np.where(disc, 4.0, 26.0) * np.sqrt(np.clip(1 - (x / body) ** 2, 0, 1)) ** 0.55
        spinous = np.where((np.abs(x) < 4) & (phase < 0.5), 22.0, 0.0)
        pedicle = np.where(((np.abs(x) - 13) ** 2 + (0.5 * height * (phase - 0.1)) ** 2) < 16, 12.0, 0.0)
        centre = 40 + 0.04 * z
        half = np.where(np.abs(x) < body, deep, 0) / 2
        return centre - half, centre + half + np.where(half > 0, spinous + pedicle, 0)

    def clavicle(self, x: Array, z: Array, side: str, raise_by: float = 0.0) -> Interval:
        """An S-shaped tube in front of the apex, thick at the breastbone and flat at the shoulder."""
        d = x * np.float32(SIGN[side])
        t = np.clip((d - 14) / (0.98 * self.half_width + 12), 0, 1)
        line = self.top - 34 + raise_by + 34 * t**0.8 + 6 * np.sin(2 * np.pi * (t - 0.05))
        r = 8.5 - 3.4 * np.sin(np.clip(t * 1.1, 0, 1) * np.pi)
        e = np.clip(1 - ((z - line) / r) ** 2, 0, None)
        half = np.where((d > 14) & (d < 0.98 * self.half_width + 26), 6.0 * np.sqrt(e), 0)
        y = -58 + 0.28 * d
        return y - half, y + half

    def scapula(self, x: Array, z: Array, side: str, inward: float) -> Array:
        """Thickness in mm of the shoulder blade (a plate with thick borders) and the head of the upper arm."""
        d = x * np.float32(SIGN[side])
        inner = self.half_width * (1.02 - inward) + 0.08 * (z - 130)
        outer = inner + np.clip((z - 78) * 0.48, 0, 56)
        # Corners are round: the plate and its borders fade in over a centimetre.
        high = np.clip((z - 74) / 12, 0, 1) * np.clip((self.top - 14 - z) / 14, 0, 1)
        plate = 2.8 * np.clip((d - inner) / 3, 0, 1) * np.clip((outer - d) / 3, 0, 1) * high
        edge = np.exp(-(((d - outer) / 3.6) ** 2)) * 8 * high * np.clip((self.top - 20 - z) / 14, 0, 1)
        edge += np.exp(-(((d - inner) / 2.0) ** 2)) * 3.5 * high
        ridge = np.exp(-(((z - (self.top - 42 + 0.30 * (d - inner))) / 4.5) ** 2)) * 9
        ridge = ridge * np.clip((d - inner - 4) / 16, 0, 1) * np.clip((outer + 26 - d) / 8, 0, 1)
        cx, cz = self.half_width + 47, self.top - 42
        q = np.clip(1 - ((d - cx) ** 2 + (z - cz) ** 2) / 24**2, 0, None)
        shaft = np.clip(1 - ((d - cx - 0.20 * (cz - z)) / 12.5) ** 2, 0, None) * (z < cz)
        return np.asarray(plate + edge + ridge + 20 * np.sqrt(np.maximum(q, 0.8 * shaft)), np.float32)

    def shoulders(self, x: Array, z: Array) -> Array:
        """Muscle around the shoulder joint and in the folds of the armpit, beyond the oval of the trunk (mm)."""
        d = (np.abs(x) - (self.half_width + 58)) / np.float32(104)
        up = (z - (self.top - 62)) / np.float32(118)
        return np.asarray((80 + 0.6 * self.fat) * np.clip(1 - d * d - up * up, 0, None) ** 1.4, np.float32)

    def breasts(self, x: Array, z: Array) -> Array:
        """Extra soft tissue in front (mm)."""
        if self.breast <= 0:
            return np.zeros(np.broadcast_shapes(x.shape, z.shape), np.float32)
        out = np.zeros(np.broadcast_shapes(x.shape, z.shape), np.float32)
        for s in SIGN.values():
            r = 0.50 * self.half_width
            dx, dz = (x - s * 0.58 * self.half_width) / r, (z - 28) / (r * 0.95)
            dz = np.where(dz < 0, dz * 1.15, dz * 0.6)
            out += self.breast * np.sqrt(np.clip(1 - dx * dx - dz * dz, 0, None))
        return out


def make_trunk(brief: Brief, *, arms_up: bool) -> Trunk:
    """Draw one patient's trunk; findings that change organs (heart, spleen, lung volume) are in it."""
    p = brief.patient
    rng = brief.body("trunk")
    k = p.height / 172 * float(np.exp(rng.normal(0, 0.03)))
    half_width = (138 if p.sex == "M" else 126) * k
    half_depth = (84 if p.sex == "M" else 76) * k * (1 + 0.004 * (p.age - 50) / 3)
    heart = brief.get("cardiomegaly")
    ctr = float(rng.uniform(0.40, 0.455)) if heart is None else 0.535 + 0.13 * heart.score
    tilt = float(rng.uniform(0.55, 0.75))
    long, short = 1.0, 0.72
    # Scale the ellipse so that its width is the wanted share of the inner chest.
    reach = float(np.hypot(long * np.cos(tilt), short * np.sin(tilt)))
    scale = ctr * half_width / reach
    deep = brief.view == "AP" and not arms_up
    visit = brief.visit("breath")
    lift = float(visit.uniform(-5, 6)) + (9 if deep else 0)
    domes = {"right": 4 + lift, "left": -9 + lift}
    band = brief.get("atelectasis")
    if band is not None:
        domes[band.side] += 8 + 12 * band.score
    shift = 0.0
    air = brief.get("pneumothorax")
    if air is not None and air.score > 0.7:
        shift = -SIGN[air.side] * 9
    spleen = brief.get("splenomegaly")
    bones = rng.uniform(0, 1, 8)
    breast = (16 + 26 * bones[0]) * (0.7 + 0.02 * p.bmi) if p.sex == "F" else 0.0
    return Trunk(
        sex=p.sex,
        half_width=half_width,
        half_depth=half_depth,
        top=212 * k,
        fat=float(np.clip(5 + 2.2 * (p.bmi - 18), 3, 48)),
        domes=domes,
        heart_centre=(
            0.33 * ctr * half_width + shift,
            -0.30 * half_depth,
            domes["left"] + 0.42 * ctr * half_width + 14,
        ),
        heart_radii=(scale * long, 0.46 * half_depth * (0.8 + 0.45 * ctr), scale * short * 0.98),
        heart_tilt=-tilt,
        ctr=ctr,
        shift=shift,
        knob=12.5 + 0.06 * (p.age - 50) + 2 * bones[1],
        rib_gap=21.0 * k * (0.96 + 0.08 * bones[2]),
        rib_drop=70 + 24 * bones[3],
        rib_phase=4 * bones[4],
        spleen=spleen.size if spleen is not None else 96 + 22 * bones[5],
        breast=float(breast),
        arms_up=arms_up,
    )
