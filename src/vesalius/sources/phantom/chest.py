"""Chest film: the trunk's intervals, attenuated by the law of Beer and Lambert, scattered, counted and displayed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom import lungtree
from vesalius.sources.phantom.anatomy import SIGN, Interval, Trunk, length, make_trunk, overlap
from vesalius.sources.phantom.lesions import effusion_level, effusion_sides, lung_lesions
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import fractal, smooth
from vesalius.sources.phantom.projection import MU, display, expose

#: Zones of a lung: thirds of its height.
ZONE_BOUNDS = {"lower": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "upper": (2 / 3, 1.0)}


def draw(brief: Brief) -> Picture:
    """A frontal film, and a lateral one when the brief asks for it."""
    trunk = make_trunk(brief, arms_up=False)
    n = brief.size
    pose = brief.visit("pose")
    width = 2.60 * trunk.half_width * float(pose.uniform(0.97, 1.06)) + 0.5 * trunk.fat
    top = trunk.top + 44 + float(pose.uniform(-14, 12))
    x0 = -width / 2 + float(pose.uniform(-8, 8))
    step = width / n
    xs = (x0 + (np.arange(n, dtype=np.float32) + 0.5) * step)[None, :].astype(np.float32)
    zs = (top - (np.arange(n, dtype=np.float32) + 0.5) * step)[:, None].astype(np.float32)
    film, parts, ctr = _frontal(trunk, brief, xs, zs, step)
    image = Image(
        array=film,
        modality="DX",
        view=brief.view,
        kind="2d",
        spacing=(step, step),
        body_part="chest",
        meta={"photometric": "MONOCHROME2"},
    )
    images = [image]
    labels = {"cardiothoracic ratio": Label(round(ctr, 3), unit="1", source="phantom")}
    if brief.lateral:
        from vesalius.sources.phantom.ct import lateral  # the lateral film sums a volume

        side, more = lateral(brief)
        images.append(side)
        parts += more
    return Picture(tuple(images), tuple(parts), brief.findings, labels)


def _magnified(brief: Brief, xs: Array, zs: Array) -> Callable[[float], tuple[Array, Array]]:
    """Grids on which an organ at depth y is evaluated: what is nearer to the tube is drawn larger."""
    distance = 1800.0 if brief.view == "PA" else 1000.0

    def at(y: float) -> tuple[Array, Array]:
        # Detector in front of the patient (y = -130) for PA, behind (y = 130) for AP; middle plane has scale 1.
        d = (y + 130) if brief.view == "PA" else (130 - y)
        m = np.float32((distance - 130) / (distance - d))
        return xs / m, (zs - 110) / m + 110

    return at


def _frontal(trunk: Trunk, brief: Brief, xs: Array, zs: Array, step: float) -> tuple[Array, list[Part], float]:
    shape = (zs.shape[0], xs.shape[1])
    at = _magnified(brief, xs, zs)
    visit = brief.visit("film")
    # Soft tissue and air.
    body = length(trunk.body(xs, zs))
    body = body + trunk.shoulders(xs, zs) * np.clip(body / 30, 0, 1) + trunk.breasts(*at(-100.0))
    heart = trunk.heart(*at(-35.0))
    great = trunk.vessels(*at(5.0))
    lungs = {s: trunk.lung_cage(xs, zs, s) for s in SIGN}
    domes = {s: trunk.dome(xs, zs, s) for s in SIGN}
    spine = trunk.spine(*at(45.0))
    lesions = lung_lesions(trunk, brief, xs, zs, lungs)
    air = np.zeros(shape, np.float32)
    lung_air: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    for s in SIGN:
        full = length(lungs[s])
        free = full - overlap(lungs[s], domes[s]) - overlap(lungs[s], heart)
        for vessel in great.values():
            free = free - overlap(lungs[s], vessel)
        free = np.maximum(free - 0.7 * overlap(lungs[s], spine), 0)
        lung_air[s] = free
        masks[f"{s} lung"] = (full > 25) & (length(domes[s]) == 0)
    chest = {s: length(lungs[s]) > 0 for s in SIGN}
    # Vessels inside the lungs.
    wet = brief.get("pulmonary edema")
    markings = {s: _markings(trunk, brief, xs, zs, s) * (1.0 if wet is None else 1.3 + 0.9 * wet.score) for s in SIGN}
    tissue: Array = np.zeros(shape, np.float32)
    parts: list[Part] = []
    shown: list[Part] = []
    gain = brief.contrast
    for s in SIGN:
        texture = 1 + 0.07 * fractal(brief.body("parenchyma", s), shape, 12, 2)
        tissue += lung_air[s] * (MU["lung"] * texture) + np.minimum(markings[s], lung_air[s]) * (MU["soft"] * 1.15)
        air += lung_air[s]
    ptx = brief.get("pneumothorax")
    if ptx is not None:
        s = ptx.side
        u, v = _lung_coordinates(trunk, xs, zs, s)
        gap = ptx.size * (0.35 + 0.75 * np.clip(v, 0, 1)) * np.float32(1.0)
        a, _, _ = trunk.cage(zs)
        outer = np.where(v > 0.8, np.hypot(np.maximum(a - np.abs(xs), 0), 0) + 0 * u, a - np.abs(xs))
        apex = np.maximum(trunk.top - zs, 0)
        depth = np.minimum(outer, apex * 1.1)
        free_air = (depth < gap) & (lung_air[s] > 0) & masks[f"{s} lung"]
        line = np.exp(-(((depth - gap) / max(1.1, 0.45 * step)) ** 2)) * (lung_air[s] > 0) * masks[f"{s} lung"]
        old = lung_air[s] * MU["lung"] + np.minimum(markings[s], lung_air[s]) * (MU["soft"] * 1.15)
        tissue = np.where(free_air, tissue - old * min(1.0, gain), tissue)
        tissue += (
            np.where(lung_air[s] > 0, ~free_air & masks[f"{s} lung"], 0) * lung_air[s] * MU["lung"] * 0.35 * ptx.score
        )
        tissue += line * MU["soft"] * 7 * gain
        shown.append(_lesion("pneumothorax", free_air, s))
    if wet is not None:
        haze = np.zeros(shape, np.float32)
        for s in SIGN:
            u, v = _lung_coordinates(trunk, xs, zs, s)
            haze += np.exp(-((u / 0.62) ** 2) - ((v - 0.40) / 0.30) ** 2) * (lung_air[s] > 0)
        haze *= np.clip(1 + 0.35 * fractal(brief.body("edema"), shape, 10, 3), 0.2, 2)
        tissue += haze * air * (MU["soft"] * 0.62 * (0.25 + 0.75 * wet.score)) * gain
        for s in SIGN:
            shown.append(_lesion("pulmonary edema", (haze > 0.35) & masks[f"{s} lung"], s))
    for lesion in lesions:
        f = lesion.finding
        thick: Array = np.zeros(shape, np.float32)
        for piece in lesion.pieces:
            thick = np.maximum(thick, length(piece)) if f.name != "consolidation" else thick + 0.62 * length(piece)
        inside = (thick > 0.25) & chest[f.side]
        if not inside.any():
            # Smaller than a pixel: the pixel of the lung nearest to its centre.
            d = np.where(chest[f.side], (xs - lesion.centre[0]) ** 2 + (zs - lesion.centre[2]) ** 2, np.inf)
            inside[np.unravel_index(int(d.argmin()), shape)] = True
            thick = np.where(inside, 0.5 * f.size, thick)
        if f.name == "consolidation":
            thick = np.minimum(thick, f.size) * np.clip(
                0.8 + 0.32 * fractal(brief.body("patch"), shape, 16, 3), 0.15, 1.5
            )
            thick = gaussian_filter(thick, 2.2 / step * 1.2)
            density = 0.50 * (0.35 + 0.65 * f.score)
        else:
            density = {"nodule": 1.25, "mass": 0.75, "atelectasis": 0.55}[f.name]
        tissue += thick * (MU["soft"] - MU["lung"]) * density * gain
        shown.append(_lesion(f.name, inside, f.side, size=lesion.size))
    wet_chest = brief.get("pleural effusion")
    if wet_chest is not None:
        for s in effusion_sides(wet_chest):
            level = effusion_level(trunk, xs, s, wet_chest.size)
            soft = np.clip((level - zs) / 26 + 0.3, 0, 1)
            tissue += lung_air[s] * soft * (MU["soft"] - MU["lung"]) * min(1.0, 0.85 * gain)
            visible = (level > zs) & (length(lungs[s]) > 0)
            shown.append(_lesion("pleural effusion", visible, s))
    # Bone.
    bones, rib_masks, cut = _bones(trunk, brief, at)
    tubes = trunk.trachea(xs, zs)
    airway = np.maximum.reduce([length(t) for t in tubes.values()])
    gas = _bowel_gas(trunk, brief, xs, zs)
    soft = np.maximum(body - air - airway - gas, 0)
    grain = 1 + 0.012 * fractal(visit, shape, 5, 2)
    path = soft * (MU["soft"] * grain) + tissue + bones + _spine_mu(spine)
    expo = expose(path, visit, brief.noise * brief.patient.device.noise, step)
    film = display(expo, brief.patient.device, visit, ceiling=0.955)
    film = _collimate(film, brief)
    film = _letter(film, brief)
    # Annotations.
    masks["heart"] = length(heart) > 0
    masks["spine"] = length(spine) > 0
    masks["trachea"] = length(tubes["trachea"]) > 0
    masks["aortic arch"] = length(great["arch"]) > 0
    masks["thorax"] = chest["left"] | chest["right"]
    for s in SIGN:
        masks[f"{s} clavicle"] = length(trunk.clavicle(*at(-55.0), s, 0.0)) > 0
        masks[f"{s} hemidiaphragm"] = (length(domes[s]) > 0) & (zs > trunk.domes[s] - 50) & (length(lungs[s]) > 0)
    masks["ribs"] = rib_masks
    for label, mask in masks.items():
        side = label.split()[0] if label.split()[0] in SIGN else ""
        parts.append(Part(label, mask, 0, "organ", attributes={"side": side} if side else {}))
    for s in SIGN:
        low, high = trunk.domes[s] + 6, trunk.top - 14
        for zone, (p, q) in ZONE_BOUNDS.items():
            band = masks[f"{s} lung"] & (zs >= low + (high - low) * p) & (zs < low + (high - low) * q)
            parts.append(Part(f"{s} {zone} zone", band, 0, "zone", attributes={"side": s, "zone": zone}))
    if brief.get("cardiomegaly") is not None:
        shown.append(_lesion("cardiomegaly", masks["heart"], ""))
    if cut is not None:
        shown.append(
            _lesion("rib fracture", cut, brief.findings[[f.name for f in brief.findings].index("rib fracture")].side)
        )
    parts += shown
    across = np.flatnonzero(masks["heart"].any(0))
    inner = np.flatnonzero((masks["left lung"] | masks["right lung"]).any(0))
    ctr = float((across[-1] - across[0] + 1) / (inner[-1] - inner[0] + 1)) if across.size and inner.size else 0.0
    return film, parts, ctr


def _lesion(name: str, mask: Array, side: str, size: float | None = None) -> Part:
    attributes: dict[str, str | float] = {"side": side} if side else {}
    if size is not None:
        attributes["size_mm"] = round(float(size), 1)
    return Part(name, mask, 0, "lesion", finding=name, attributes=attributes)


def _lung_coordinates(trunk: Trunk, xs: Array, zs: Array, side: str) -> tuple[Array, Array]:
    """(u across from the hilum 0..1, v up 0..1) of one lung."""
    a, _, _ = trunk.cage(zs)
    m = trunk.medial(zs, side)
    u = (xs * np.float32(SIGN[side]) - m) / np.maximum(a - m, 1)
    v = (zs - (trunk.domes[side] - 30)) / np.float32(trunk.top - trunk.domes[side] + 30)
    return u, v * np.ones_like(xs)


def _markings(trunk: Trunk, brief: Brief, xs: Array, zs: Array, side: str) -> Array:
    rng = brief.body("markings", side)
    texture = lungtree.film(int(rng.integers(lungtree.TREES)))
    u, v = _lung_coordinates(trunk, xs, zs, side)
    shape = (zs.shape[0], xs.shape[1])
    u = u + 0.03 * smooth(rng, shape, 4)
    v = v + 0.03 * smooth(rng, shape, 4)
    h, w = texture.shape
    # Average over the pixel where the texture is finer than the film.
    k = max(1, round(h * (zs[0, 0] - zs[-1, 0]) / zs.shape[0] / 225.0))
    texture = uniform_filter(texture, k) if k > 1 else texture
    iu, iv = (u * w).astype(np.int32), (v * h).astype(np.int32)
    ok = (iu >= 0) & (iu < w) & (iv >= 0) & (iv < h)
    return np.asarray(np.where(ok, texture[np.clip(iv, 0, h - 1), np.clip(iu, 0, w - 1)], 0), np.float32)


def _spine_mu(spine: Interval) -> Array:
    # The film is made at high voltage, where spongy bone stands out little from the heart and the vessels before it.
    return np.asarray(length(spine) * np.float32(0.55 * (MU["spongy"] - MU["soft"])))


def _bones(trunk: Trunk, brief: Brief, at: Callable[[float], tuple[Array, Array]]) -> tuple[Array, Array, Array | None]:
    """Extra attenuation of the bones, where ribs are, and where a rib is broken."""
    f = brief.get("rib fracture")
    xb, zb = at(60.0)
    cut: Array | None = None
    if f is not None:
        rng = brief.body("lesion", f.name)
        number = int(rng.integers(3, 8))
        xf = SIGN[f.side] * trunk.half_width * float(rng.uniform(0.55, 0.82))
        beyond = 1 / (1 + np.exp(-np.clip((xb * SIGN[f.side] - abs(xf)) / 0.8, -30, 30)))
        zb = zb + np.float32(2.2 + 3.8 * f.score) * min(1.3, brief.contrast + 0.2) * beyond * _bump(
            trunk, xf, number, xb, zb
        )
    back, k = trunk.ribs(xb, zb)["back"]
    front, _ = trunk.ribs(*at(-60.0))["front"]
    if f is not None:
        gap = np.exp(-(((xb - xf) / 1.8) ** 2)) * (k == number)
        near = (np.abs(xb - xf) < f.size / 2) & (k == number) & (back > 0)
        back = back * (1 - np.clip(gap * min(1.2, brief.contrast + 0.2), 0, 1))
        cut = near
    ribs = (back > 0) | (front > 0)
    if cut is not None:
        ribs = ribs | cut
    bone = back * np.float32((MU["cortex"] - MU["soft"]) * 0.85) + front * np.float32(
        (MU["cortex"] - MU["soft"]) * 0.55
    )
    inward = 0.02 if brief.view == "PA" else 0.16
    for s in SIGN:
        bone = bone + _tube(length(trunk.clavicle(*at(-55.0), s))) * np.float32(MU["cortex"] - MU["soft"])
        bone = bone + trunk.scapula(*at(80.0), s, inward) * np.float32(MU["cortex"] - MU["soft"]) * 0.75
    return bone, ribs, cut


def _tube(chord: Array) -> Array:
    """Cortex met by rays through a hollow bone of the given chord: most where they graze its wall (mm)."""
    return np.asarray(np.minimum(chord, 5.0 + 0.42 * chord))


def _bump(trunk: Trunk, xf: float, number: int, x: Array, z: Array) -> Array:
    """1 near the broken rib, falling to 0 away from it, so that only this rib is displaced."""
    a, _, _ = trunk.cage(z)
    s = np.clip(np.abs(x) / (a + 4), 0, 1)
    q = trunk.rib_number(z, np.sqrt(1 - s * s))
    return np.asarray(np.exp(-(((q - number) / 0.42) ** 4)) * np.exp(-(((x - xf) / 45) ** 2)))


def _bowel_gas(trunk: Trunk, brief: Brief, xs: Array, zs: Array) -> Array:
    """The stomach's bubble under the left diaphragm and some gas in the bowel (mm of air)."""
    rng = brief.visit("gas")
    out = np.zeros((zs.shape[0], xs.shape[1]), np.float32)
    spots = [(0.40 * trunk.half_width, trunk.domes["left"] - 26, rng.uniform(14, 30), rng.uniform(8, 15), 26.0)]
    for _ in range(3):
        spots.append(
            (
                rng.uniform(0.2, 0.8) * trunk.half_width,
                trunk.domes["left"] - rng.uniform(42, 80),
                rng.uniform(8, 18),
                rng.uniform(6, 12),
                16.0,
            )
        )
    for cx, cz, rx, rz, deep in spots:
        q = 1 - ((xs - cx) / rx) ** 2 - ((zs - cz) / rz) ** 2
        out = np.maximum(out, deep * np.sqrt(np.maximum(q, 0)))
    return np.asarray(np.where(zs < trunk.domes["left"] - 8, out, 0), np.float32)


def _collimate(film: Array, brief: Brief) -> Array:
    """Black edges where the beam was cut, on some films."""
    rng = brief.visit("collimation")
    n = film.shape[0]
    edges = np.where(rng.random(4) < 0.22, rng.uniform(0.01, 0.045, 4), 0) * n
    y, x = np.arange(n)[:, None], np.arange(n)[None, :]
    outside = (y < edges[0]) | (y >= n - edges[1]) | (x < edges[2]) | (x >= n - edges[3])
    return np.asarray(np.where(outside, np.uint8(6), film))


_L = np.asarray([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]], bool)


def _letter(film: Array, brief: Brief) -> Array:
    """The side marker L, on the patient's left, burned in as on most films."""
    rng = brief.visit("letter")
    if rng.random() < 0.25:
        return film
    n = film.shape[0]
    k = max(1, round(n / 110))
    glyph = np.kron(_L, np.ones((k, k), bool))
    y = int(n * rng.uniform(0.04, 0.16))
    x = int(n * rng.uniform(0.90, 0.955))
    h, w = glyph.shape
    if x + w < n and y + h < n:
        film = film.copy()
        film[y : y + h, x : x + w][glyph] = 250
    return film
