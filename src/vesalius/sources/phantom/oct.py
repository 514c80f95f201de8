"""OCT B-scan through the fovea: layers with known boundaries, fluid, drusenoid deposits, atrophy, central thickness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import smooth, star_local, to_bytes, window, wobble

WIDTH_MM, DEPTH_MM = 6.0, 1.6
#: Layer name, thickness in micrometres away from the fovea, at the fovea, and brightness.
LAYERS = (
    ("nerve fibre layer", 38, 4, 0.78),
    ("ganglion cell layer", 48, 6, 0.45),
    ("inner plexiform layer", 38, 6, 0.56),
    ("inner nuclear layer", 36, 8, 0.30),
    ("outer plexiform layer", 28, 14, 0.52),
    ("outer nuclear layer", 68, 100, 0.22),
    ("ellipsoid zone", 38, 48, 0.70),
    ("pigment epithelium", 26, 26, 0.95),
)


@dataclass(frozen=True)
class Layers:
    """Boundaries of the layers in pixels from the top, each of any shape whose last axis runs along the scan.

    Args:
        tops: Upper boundary of each layer.
        bottom: Lower boundary of the pigment epithelium.
        fluid: Upper boundary of the fluid below the retina, the lower one of the ellipsoid zone.
        wet: Where there is such fluid.
        gone: 0 to 1, how far the outer layers have gone.
    """

    tops: list[Array]
    bottom: Array
    fluid: Array
    wet: Array
    gone: Array


def stack_layers(
    thick: list[Array], base: Array, lift: Array, srf: Array, swell: Array, gone: Array, um: float
) -> Layers:
    """Boundaries from thicknesses and lesions, all in micrometres, built from the pigment epithelium upwards.

    Args:
        thick: Thickness of each layer.
        base: Depth of the epithelium's lower side.
        lift: Height of deposits under it.
        srf: Height of fluid above it.
        swell: Thickening by fluid within the retina.
        gone: 0 to 1, atrophy of the outer layers.
        um: Micrometres of a pixel.
    """
    tops = [np.zeros(base.shape) for _ in LAYERS]
    tops[7] = base - lift - thick[7] * (1 - 0.85 * gone)
    fluid = tops[7] - srf
    tops[6] = fluid - thick[6] * (1 - 0.9 * gone)
    for k in range(5, -1, -1):
        extra = swell * 0.5 if k in (3, 5) else np.zeros(base.shape)
        # The outer nuclear layer gives way, so that the inner layers follow a bump only in part.
        extra = extra - 0.5 * np.minimum(lift + 0.5 * srf, 85) * (k == 5)
        tops[k] = tops[k + 1] - (thick[k] * (1 - 0.35 * gone * (k == 5)) + extra)
    return Layers([t / um for t in tops], base / um, fluid / um, srf > 12, gone)


def _rows(line: Array) -> Array:
    """A boundary `(..., W)` as `(..., 1, W)`, to be held against rows of pixels."""
    return line[..., None, :]


def reflect(layers: Layers, n: int, um: float, contrast: float, texture: Array) -> tuple[Array, list[Array], Array]:
    """Brightness `(..., n, W)` before speckle, the soft steps of the boundaries, and where the fluid is.

    Args:
        layers: The boundaries.
        n: Pixels in depth.
        um: Micrometres of a pixel.
        contrast: How dark fluid is, up to 1.
        texture: `(..., n, W)` unit noise of the choroid.
    """
    yy = (np.arange(n, dtype=np.float32) + 0.5)[:, None]
    soft = np.float32(max(0.8, 8 / um))

    def above(line: Array) -> Array:
        """Soft step: 0 above a boundary, 1 below it."""
        return np.asarray(np.clip((yy - _rows(line).astype(np.float32)) / soft + np.float32(0.5), 0, 1))

    image = np.full(texture.shape, 0.035, np.float32)
    steps = [above(t) for t in layers.tops]
    for k, (_, _, _, bright) in enumerate(LAYERS):
        level = bright * (1 - 0.6 * layers.gone) if k >= 6 else np.full(layers.gone.shape, bright)
        image += steps[k] * (_rows(level).astype(np.float32) - image)
    # Subretinal fluid lies between the ellipsoid zone and the pigment epithelium.
    wet = (yy >= _rows(layers.fluid)) & (yy < _rows(layers.tops[7])) & _rows(layers.wet)
    image = np.where(wet, 0.05 + (1 - contrast) * 0.3, image)
    depth = np.clip(yy - _rows(layers.bottom), 0, None) * um
    choroid = (0.46 * np.exp(-depth / 300) * (1 + 0.24 * texture)).astype(np.float32)
    choroid = np.where(depth > 300, choroid * 0.55, choroid) * (1 + 0.9 * _rows(layers.gone).astype(np.float32))
    image += above(layers.bottom) * (choroid - image)
    return image, steps, wet


def speckled(image: Array, rng: np.random.Generator, noise: float) -> Array:
    """Speckle of coherent light over `(..., H, W)`, each slice for itself, and the display's tone."""
    real, imag = rng.standard_normal((2, *image.shape), dtype=np.float32)
    blur = (0,) * (image.ndim - 2) + (0.5, 0.7)
    speckle = np.sqrt(gaussian_filter(real, blur) ** 2 + gaussian_filter(imag, blur) ** 2)
    speckle /= speckle.mean()
    amount = np.float32(min(1.0, 0.42 * noise))
    image = image * ((1 - amount) + amount * speckle) + 0.03 * speckle
    return np.asarray(np.clip(image, 0, 1) ** 0.8)


def layer_parts(layers: Layers, n: int, um: float) -> list[Part]:
    """The layers and the whole retina (with 41 micrometres below it, where atrophy shows) as parts."""
    yy = (np.arange(n, dtype=np.float32) + 0.5)[:, None]
    lines = [*layers.tops, layers.bottom]
    parts = []
    for k, (name, _, _, _) in enumerate(LAYERS):
        low = lines[k + 1] if k != 6 else layers.fluid
        parts.append(Part(name, (yy >= _rows(lines[k])) & (yy < _rows(low))))
    parts.append(Part("retina", (yy >= _rows(lines[0])) & (yy < _rows(layers.bottom) + 41 / um)))
    return parts


def draw(brief: Brief) -> Picture:
    """One B-scan, uint8 grey."""
    n = brief.size
    rng, pose = brief.body("oct"), brief.visit("pose")
    um = DEPTH_MM * 1000 / n
    x = ((np.arange(n) + 0.5) / n - 0.5) * WIDTH_MM + float(rng.uniform(-0.2, 0.2))
    pit = np.exp(-((x / float(rng.uniform(0.42, 0.55))) ** 2))
    rim = 1 + 0.10 * np.exp(-(((np.abs(x) - 1.1) / 0.6) ** 2))
    thick = [(far * rim * (1 - pit) + near * pit) * float(rng.uniform(0.94, 1.06)) for _, far, near, _ in LAYERS]
    mm = (np.arange(n) + 0.5) / n
    # Height of the pigment epithelium: a gentle bowl, tilted by the eye's position.
    base = 980 + 55 * (x / 3) ** 2 + 60 * float(pose.uniform(-1, 1)) * (mm - 0.5) + 40 * float(pose.uniform(-1, 1))
    base = base + 4 * smooth(rng, (n,), 6)
    lift = np.zeros(n)
    parts: list[Part] = []
    bumps: list[tuple[float, float, float]] = []
    deposits = brief.get("drusenoid deposits")
    if deposits is not None:
        d = brief.body("lesion", deposits.name)
        slots = d.permutation(8)[: deposits.count]
        for s in slots:
            bumps.append(
                (
                    -2.5 + 5.0 * (s + 0.5) / 8 + float(d.uniform(-0.1, 0.1)),
                    float(d.uniform(0.12, 0.19)),
                    float(d.uniform(55, 95)),
                )
            )
        for c, w, h in bumps:
            lift += h * np.exp(-(((x - c) / w) ** 2))
    srf = np.zeros(n)
    fluid = brief.get("subretinal fluid")
    if fluid is not None:
        d = brief.body("lesion", fluid.name)
        c, w = float(d.uniform(-0.5, 0.5)), fluid.size / 2
        srf = (60 + 110 * fluid.score) * np.clip(1 - ((x - c) / w) ** 2, 0, None)
    swell = np.zeros(n)
    cysts = brief.get("intraretinal fluid")
    spots: list[tuple[float, float, float, float]] = []
    if cysts is not None:
        d = brief.body("lesion", cysts.name)
        for s in d.permutation(10)[: cysts.count]:
            c = -1.5 + 3.0 * (s + 0.5) / 10 + float(d.uniform(-0.05, 0.05))
            r = float(d.uniform(0.10, 0.145))
            spots.append((c, float(d.uniform(0.35, 0.6)), r, float(d.uniform(38, 70))))
            swell += 70 * np.exp(-(((x - c) / 0.35) ** 2))
    atrophy = brief.get("geographic atrophy")
    gone = np.zeros(n)
    if atrophy is not None:
        d = brief.body("lesion", atrophy.name)
        c = float(d.uniform(-1.6, 1.6))
        gone = 1 / (1 + np.exp((np.abs(x - c) - atrophy.size / 2) / 0.04))
    layers = stack_layers(thick, base, lift, srf, swell, gone, um)
    tops, bottom = layers.tops, layers.bottom
    rpe_bottom, rpe_top = base, tops[7] * um
    shape = (n, n)
    image, steps, srf_mask = reflect(layers, n, um, min(1.0, brief.contrast), smooth(rng, shape, (26, 34)))
    yy = (np.arange(n, dtype=np.float32) + 0.5)[:, None]
    # Deposits fill the space below the lifted epithelium.
    for number, (c, w, h) in enumerate(bumps, 1):
        bump = h * np.exp(-(((x - c) / w) ** 2)) > 0.12 * h
        # Under the epithelium, or its own thickness where it is thinner than a pixel.
        m = (yy >= (rpe_top / um)[None, :]) & (yy < bottom[None, :]) & bump[None, :]
        inner = (yy >= ((rpe_top + thick[7]) / um)[None, :]) & m
        image = np.where(inner, image + (0.46 - image) * min(1.0, brief.contrast), image)
        parts.append(
            Part(
                "drusenoid deposits",
                m,
                granularity="lesion",
                finding="drusenoid deposits",
                attributes={"number": number},
            )
        )
    for number, (c, place, r, h) in enumerate(spots, 1):
        col = int(np.clip(np.argmin(np.abs(x - c)), 0, n - 1))
        cy = tops[3][col] + place * (tops[6][col] - tops[3][col])
        rx, ry = r / WIDTH_MM * n, min(h, 0.45 * float(tops[6][col] - tops[3][col]) * um) / um
        near = window(cy, col + 0.5, 1.8 * max(rx, ry) + 2, shape)
        mask = np.zeros(shape, bool)
        if near is not None:
            where, dy, dx = near
            cover = star_local(
                dy, dx, max(ry, 1.2), max(rx, 1.2), 0.0, wobble(brief.body("cyst", number), 0.08, 4), 1.2
            )
            image[where] += cover * min(1.0, brief.contrast + 0.1) * (0.04 - image[where])
            mask[where] = cover > 0.5
        parts.append(
            Part(
                "intraretinal fluid",
                mask,
                granularity="lesion",
                finding="intraretinal fluid",
                attributes={"number": number},
            )
        )
    if fluid is not None:
        parts.append(Part("subretinal fluid", srf_mask, granularity="lesion", finding=fluid.name))
    if atrophy is not None:
        m = (gone > 0.5)[None, :] & (yy >= tops[6][None, :]) & (yy < bottom[None, :] + 40 / um)
        parts.append(Part("geographic atrophy", m, granularity="lesion", finding=atrophy.name))
    # Shadows of vessels, speckle of coherent light, fading in depth.
    for _ in range(int(rng.integers(2, 5))):
        c = float(rng.uniform(-2.8, 2.8))
        if abs(c) > 0.6:
            image *= (1 - 0.35 * np.exp(-(((x - c) / 0.05) ** 2)))[None, :].astype(np.float32) * steps[1] + (
                1 - steps[1]
            )
    image = speckled(image, brief.visit("noise"), brief.noise)
    parts += layer_parts(layers, n, um)
    centre = np.abs(x) <= 0.5
    cst = float((rpe_bottom[centre] - tops[0][centre] * um).mean())
    picture = Image(
        array=to_bytes(image),
        modality="OPT",
        view="B-SCAN",
        kind="2d",
        spacing=(DEPTH_MM / n, WIDTH_MM / n),
        body_part="retina",
    )
    labels = {"central subfield thickness": Label(round(cst, 1), unit="um", source="phantom")}
    return Picture((picture,), tuple(parts), brief.findings, labels)
