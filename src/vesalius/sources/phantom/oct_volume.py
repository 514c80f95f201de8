"""OCT volume: a stack of B-scans over the macula, with the same layers and lesions as the single scan, in 3-d."""

from __future__ import annotations

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.oct import LAYERS, Layers, layer_parts, reflect, speckled, stack_layers
from vesalius.sources.phantom.paint import at_least_one, separate, smooth, to_bytes

WIDTH_MM, DEPTH_MM = 6.0, 1.0


def draw(brief: Brief) -> Picture:
    """A volume, uint8 `(slow scan, depth, fast scan)`."""
    n = brief.size_3d
    um = DEPTH_MM * 1000 / n
    rng, pose = brief.body("oct"), brief.visit("pose")
    # The fovea is near the middle of the field, as the eye fixates it.
    line = ((np.arange(n) + 0.5) / n - 0.5) * WIDTH_MM
    x, y = line[None, :] + float(rng.uniform(-0.2, 0.2)), line[:, None] + float(rng.uniform(-0.2, 0.2))
    far = np.hypot(x, y)
    pit = np.exp(-((far / float(rng.uniform(0.42, 0.55))) ** 2))
    rim = 1 + 0.10 * np.exp(-(((far - 1.1) / 0.6) ** 2))
    thick = [(away * rim * (1 - pit) + near * pit) * float(rng.uniform(0.94, 1.06)) for _, away, near, _ in LAYERS]
    base = (
        610
        + 45 * (far / 3) ** 2
        + 30 * pose.uniform(-1, 1)
        + 25 * (pose.uniform(-1, 1) * x + pose.uniform(-1, 1) * y) / 3
    )
    base = base + 4 * smooth(rng, (n, n), 6)
    bumps, spots = _places(brief, "drusenoid deposits", 2.4), _places(brief, "intraretinal fluid", 1.5)
    lift, swell, srf, gone = (np.zeros((n, n)) for _ in range(4))
    bells = [np.exp(-(((x - c[1]) / c[2]) ** 2) - ((y - c[0]) / c[2]) ** 2) for c in bumps]
    for bell, bump in zip(bells, bumps, strict=True):
        lift += (55 + 45 * bump[3]) * bell
    for c in spots:
        swell += 70 * np.exp(-(((x - c[1]) / 0.35) ** 2) - ((y - c[0]) / 0.35) ** 2)
    fluid, atrophy = brief.get("subretinal fluid"), brief.get("geographic atrophy")
    if fluid is not None:
        at = brief.body("lesion", fluid.name).uniform(-0.5, 0.5, 2)
        srf = (60 + 110 * fluid.score) * np.clip(
            1 - ((x - at[1]) ** 2 + (y - at[0]) ** 2) / (fluid.size / 2) ** 2, 0, None
        )
    if atrophy is not None:
        d = brief.body("lesion", atrophy.name)
        at = d.uniform(-1.4, 1.4, 2)
        edge = np.hypot(x - at[1], y - at[0]) - atrophy.size / 2 * (1 + 0.10 * np.tanh(smooth(d, (n, n), 8)))
        gone = 1 / (1 + np.exp(np.clip(edge / 0.05, -40, 40)))
    layers = stack_layers(thick, base, lift, srf, swell, gone, um)
    contrast = min(1.0, brief.contrast)
    image, steps, wet = reflect(layers, n, um, contrast, smooth(rng, (n, n, n), (14, 14, 14)))
    parts: list[Part] = []
    for number, bell in enumerate(bells, 1):
        image, part = _deposit(image, layers, bell, thick[7] / um, contrast, number)
        parts.append(part)
    for number, c in enumerate(spots, 1):
        parts.append(_cyst(image, layers, (x, y), c, contrast, number))
    if fluid is not None:
        parts.append(
            Part(fluid.name, at_least_one(wet, _column(layers, srf)), granularity="lesion", finding=fluid.name)
        )
    if atrophy is not None:
        rows = (np.arange(n) + 0.5)[:, None]
        within = (rows >= layers.tops[6][:, None]) & (rows < layers.bottom[:, None] + 40 / um)
        mask = (gone > 0.5)[:, None] & within
        parts.append(
            Part(atrophy.name, at_least_one(mask, _column(layers, gone)), granularity="lesion", finding=atrophy.name)
        )
    image *= 1 - 0.38 * _vessels(rng, x, y, far).astype(np.float32)[:, None] * steps[1]
    picture = Image(
        array=to_bytes(speckled(image, brief.visit("noise"), brief.noise)),
        modality="OPT",
        view="VOLUME",
        kind="3d",
        spacing=(WIDTH_MM / n, DEPTH_MM / n, WIDTH_MM / n),
        body_part="retina",
    )
    parts += layer_parts(layers, n, um)
    return Picture((picture,), tuple(parts), brief.findings, _measure(layers, far, um))


def _measure(layers: Layers, far: Array, um: float) -> dict[str, Label]:
    """Mean thickness within 0.5 mm of the fovea (the ETDRS grid's centre) and volume within 3 mm."""
    thick = (layers.bottom - layers.tops[0]) * um
    centre = thick[far <= 0.5]
    cell = (WIDTH_MM / far.shape[0]) ** 2
    return {
        "central subfield thickness": Label(round(float(centre.mean()), 1), unit="um", source="phantom"),
        "macular volume": Label(round(float(thick[far <= 3.0].sum() * cell / 1000), 3), unit="mm3", source="phantom"),
    }


def _places(brief: Brief, name: str, reach: float) -> list[tuple[float, float, float, float]]:
    """(y, x, radius in mm, a share 0..1) of each lesion of a counted finding, apart from each other."""
    f = brief.get(name)
    if f is None:
        return []
    rng = brief.body("lesion", name)
    at = separate(rng, f.count, 0.45, (-reach, -reach), (reach, reach))
    more = [rng.uniform((0.14, 0.0), (0.21, 1.0)) for _ in at]
    return [(float(p[0]), float(p[1]), float(m[0]), float(m[1])) for p, m in zip(at, more, strict=True)]


def _column(layers: Layers, field: Array) -> tuple[int, int, int]:
    """The voxel on the pigment epithelium where a map is highest, for lesions thinner than a voxel."""
    d, w = np.unravel_index(int(np.argmax(field)), field.shape)
    row = int(np.clip(layers.tops[7][d, w], 0, field.shape[0] - 1))
    return int(d), row, int(w)


def _deposit(image: Array, layers: Layers, bell: Array, rpe: Array, contrast: float, number: int) -> tuple[Array, Part]:
    """A bump under the lifted epithelium: fill it, and give it its own thickness where that is below a voxel."""
    rows = (np.arange(image.shape[1]) + 0.5)[:, None]
    top, bottom = layers.tops[7][:, None], layers.bottom[:, None]
    mask = (rows >= top) & (rows < bottom) & (bell > 0.12)[:, None]
    inner = (rows >= top + rpe[:, None]) & mask
    image = np.where(inner, image + (0.46 - image) * contrast, image)
    mask = at_least_one(mask, _column(layers, bell))
    name = "drusenoid deposits"
    return image, Part(name, mask, granularity="lesion", finding=name, attributes={"number": number})


def _cyst(
    image: Array,
    layers: Layers,
    axes: tuple[Array, Array],
    c: tuple[float, float, float, float],
    contrast: float,
    number: int,
) -> Part:
    """A dark ellipsoid between the inner nuclear and the ellipsoid layer."""
    x, y = axes
    n = image.shape[1]
    d, w = int(np.abs(y - c[0]).argmin()), int(np.abs(x - c[1]).argmin())
    top, bottom = float(layers.tops[3][d, w]), float(layers.tops[6][d, w])
    middle, half = top + (0.35 + 0.25 * c[3]) * (bottom - top), max(0.3 * (bottom - top), 0.8)
    rows = ((np.arange(n) + 0.5 - middle) / half)[:, None]
    flat = ((x - c[1]) / c[2]) ** 2 + ((y - c[0]) / c[2]) ** 2
    q = np.sqrt(flat[:, None] + rows**2)
    cover = np.clip((1 - q) * half + 0.5, 0, 1).astype(np.float32)
    image += cover * min(1.0, contrast + 0.1) * (0.04 - image)
    mask = at_least_one(cover > 0.5, (d, int(np.clip(middle, 0, n - 1)), w))
    name = "intraretinal fluid"
    return Part(name, mask, granularity="lesion", finding=name, attributes={"number": number})


def _vessels(rng: np.random.Generator, x: Array, y: Array, far: Array) -> Array:
    """Shadows of vessels that arch above and below the fovea, as a map 0..1 seen from the front."""
    out = np.zeros(far.shape)
    for s in (-1.0, 1.0):
        for _ in range(2):
            height, bend = s * float(rng.uniform(1.3, 2.4)), float(rng.uniform(0.05, 0.2))
            path = height * (1 - bend * ((x - 0.4) / 3) ** 2) + 0.12 * np.sin(
                x * float(rng.uniform(1.5, 3)) + rng.uniform(0, 6)
            )
            out = np.maximum(out, np.exp(-(((y - path) / float(rng.uniform(0.05, 0.09))) ** 2)))
    return np.asarray(out * (far > 0.5))
