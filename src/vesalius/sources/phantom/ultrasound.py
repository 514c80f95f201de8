"""Breast ultrasound: layers of tissue, nodules with their echoes behind, fully developed speckle."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Finding, Part, Picture
from vesalius.sources.phantom.paint import fractal, grid, smooth, star_local, stroke, window, wobble

#: Millimetres across and deep.
FIELD_MM = 42.0
_NAMES = ("simple cyst", "benign nodule", "suspicious nodule")


def draw(brief: Brief) -> Picture:
    """One B-mode image, uint8 grey."""
    n = brief.size
    shape = (n, n)
    rng = brief.body("us")
    y, _ = grid(n, n)
    mm = n / FIELD_MM
    # Echo strength of the layers in decibels below full scale.
    wave = 1.6 * smooth(rng, (n,), 4)[None, :] / FIELD_MM
    skin, fat, gland, muscle = (
        0.055,
        0.055 + float(rng.uniform(0.13, 0.2)),
        float(rng.uniform(0.66, 0.74)),
        float(rng.uniform(0.86, 0.92)),
    )
    depth = y + wave * np.clip(y * 4, 0, 1)
    # Layers grow into each other: their borders are warped and soft, and lobules of fat lie in the gland.
    warp = depth + 0.022 * fractal(rng, shape, 4, 4, 0.7)
    fat_texture = fractal(rng, shape, 5, 3)
    fibres = smooth(rng, shape, (min(n // 5, 44), 6))
    fibres += 0.6 * smooth(rng, shape, (min(n // 3, 70), 12))
    lobules = np.clip(1.5 * fractal(rng, shape, 4, 3) - 0.55, 0, 1)
    coarse = fractal(rng, shape, 5, 4, 0.65)
    echo = -11 + 3 * np.cos(np.clip(depth / skin, 0, 1) * 2 * np.pi)
    for start, level in (
        (skin, -30 + 2.0 * fat_texture + 1.2 * fibres),
        (fat, -18 + 4.6 * fibres + 3.8 * coarse - 11 * lobules),
        (gland, -28 + 5.0 * smooth(rng, shape, (min(n // 4, 56), 4))),
        (muscle, np.full(shape, -34.0, np.float32) + 3 * coarse),
    ):
        edge = np.clip(((depth if start == skin else warp) - start) / (0.008 if start == skin else 0.03) + 0.5, 0, 1)
        echo = echo + edge * (level - echo)
    echo = np.asarray(echo, np.float32)
    # Thin bright lines: ligaments, fascia, pleura.
    lines = np.zeros(shape, np.float32)
    t = np.linspace(-0.05, 1.05, 24)
    for _ in range(int(rng.integers(9, 16))):
        d0, slope, a, f = (
            rng.uniform(skin, gland),
            rng.uniform(-0.22, 0.22),
            rng.uniform(0.006, 0.02),
            rng.uniform(2, 6),
        )
        curve = d0 + slope * (t - 0.5) + a * np.sin(f * t * 3 + rng.uniform(0, 6))
        stroke(
            lines, np.stack([curve * n, t * n], 1), np.full(24, float(rng.uniform(0.12, 0.34)) * mm), 1.2 + 0.25 * mm
        )
    echo += lines * np.clip(9 + 6 * smooth(rng, shape, (6, 10)), 0, 16)
    fascia = np.exp(-(((warp - gland) / 0.009) ** 2)) + 1.3 * np.exp(-(((warp - muscle) / 0.012) ** 2))
    echo += 8 * np.clip(1 + 0.6 * smooth(rng, shape, (3, 9)), 0, 2) * fascia.astype(np.float32)
    behind = np.zeros(shape, np.float32)
    parts = [
        Part("breast", (depth >= skin) & (depth < gland)),
        Part("skin line", depth < skin),
        Part("fat", (depth >= skin) & (depth < fat)),
        Part("pectoral muscle", (depth >= gland) & (depth < muscle)),
    ]
    here = [f for f in brief.findings if f.name in _NAMES]
    columns = brief.body("columns").permutation(3)
    radii: dict[str, float] = {}
    for found, column in zip(here, columns, strict=False):
        part, ratio = _nodule(brief, found, echo, behind, int(column), len(here), (fat, gland), mm)
        parts.append(part)
        radii[found.name] = ratio
    echo += behind
    # Sound is lost with depth, and columns behind poor contact with the skin are darker.
    contact = smooth(brief.visit("contact"), (n,), 5)
    echo -= (19 * (depth - 0.30) + (2.2 * np.clip(contact, -2, 2))[None, :] * np.clip(depth * 2, 0, 1)).astype(
        np.float32
    )
    # Speckle: the magnitude of a complex field that the beam has blurred, wider across than along.
    noise = brief.visit("speckle")
    real, imag = noise.standard_normal((2, n, n), dtype=np.float32)
    s = n / 256
    blur = (0.62 * s + 0.22, 1.5 * s + 0.34)
    field = np.hypot(gaussian_filter(real, blur), gaussian_filter(imag, blur))
    field /= np.sqrt((field**2).mean())
    # A small picture is a large one shrunk, which averages speckle and leaves the layers.
    amount = np.float32(min(1.25, 0.72 * (0.6 + 0.4 * brief.noise)) * (0.45 + 0.55 * min(1.0, s)))
    # Scanners average over frames and angles, which fills the black gaps between the speckles.
    db = echo + 10 * amount * np.log10(np.maximum(0.72 * field**2 + 0.28, 0.05)) * 1.6
    db = gaussian_filter(db, 0.2 + 0.3 * s + 0.4 * brief.patient.device.blur)
    span = 52.0 * brief.patient.device.gamma**-0.5
    grey = np.clip((db + span) / span, 0, 1) ** 1.1
    image = np.asarray(grey * 235 * min(1.06, brief.patient.device.gain) + 6, np.float32)
    step = FIELD_MM / n
    picture = Image(
        array=np.clip(image, 0, 255).astype(np.uint8),
        modality="US",
        kind="2d",
        spacing=(step, step),
        body_part="breast",
    )
    labels = {"BI-RADS": Label(birads(brief.findings), source="phantom")}
    for name, ratio in radii.items():
        labels[f"{name} taller than wide"] = Label(int(ratio > 1), source="phantom")
    return Picture((picture,), tuple(parts), brief.findings, labels)


def birads(findings: tuple[Finding, ...]) -> int:
    """Category by rule: 1 nothing, 2 cyst, 3 benign nodule, 4 or 5 suspicious nodule (5 when severe)."""
    names = {f.name: f for f in findings}
    if "suspicious nodule" in names:
        return 5 if names["suspicious nodule"].severity == "severe" else 4
    return 3 if "benign nodule" in names else 2 if "simple cyst" in names else 1


def _nodule(
    brief: Brief,
    f: Finding,
    echo: Array,
    behind: Array,
    column: int,
    total: int,
    layers: tuple[float, float],
    mm: float,
) -> tuple[Part, float]:
    shape = (echo.shape[0], echo.shape[1])
    n = shape[0]
    rng = brief.body("lesion", f.name)
    tall = {
        "simple cyst": rng.uniform(0.72, 0.95),
        "benign nodule": rng.uniform(0.5, 0.72),
        "suspicious nodule": rng.uniform(1.08, 1.35),
    }[f.name]
    across = f.size if tall <= 1 else f.size / tall
    # Three nodules side by side must fit.
    room = FIELD_MM / max(total, 1) * 0.86
    shrink = min(1.0, room / across, 0.92 * (layers[1] - layers[0]) * FIELD_MM / (across * tall))
    rx, ry = across / 2 * mm * shrink, across * tall / 2 * mm * shrink
    cx = (
        n * ((column + 0.5) / 3 if total == 3 else (column % total + 0.5) / total) + float(rng.uniform(-0.02, 0.02)) * n
    )
    cx = float(np.clip(cx, rx + 2, n - rx - 2))
    low, high = layers[0] * n + ry, layers[1] * n - ry
    cy = float(rng.uniform(low, high)) if high > low else (layers[0] + layers[1]) / 2 * n
    rough = {"simple cyst": 0.012, "benign nodule": 0.04, "suspicious nodule": 0.10}[f.name]
    wave = wobble(rng, rough, 12)
    if f.name == "suspicious nodule":
        wave = (wave[0] + np.where(np.arange(12) > 6, 0.016 * rng.normal(0, 1, 12), 0), wave[1])
    w = window(cy, cx, 1.8 * max(rx, ry) + 4, shape)
    mask = np.zeros(shape, bool)
    strength = np.float32(min(1.0, brief.contrast))
    if w is not None:
        where, dy, dx = w
        angle = float(rng.uniform(-0.2, 0.2)) if f.name != "simple cyst" else 0.0
        # A tumour grows into its surround, so that its margin is blurred.
        blurred = {"simple cyst": 1.0, "benign nodule": 1.6, "suspicious nodule": 3.2}[f.name]
        cover = star_local(dy, dx, ry, rx, angle, wave, blurred * (1.5 * n / 256 + 0.8))
        inside = {"simple cyst": -58.0, "benign nodule": -33.0, "suspicious nodule": -38.0}[f.name]
        texture = 2.5 * smooth(rng, shape, 14)[where]
        if f.name == "simple cyst":
            texture = texture * 0.3
        echo[where] += cover * strength * (inside + texture - echo[where])
        mask[where] = cover > 0.5
        rim = cover * (1 - cover) * 4
        echo[where] += rim * strength * {"simple cyst": 9.0, "benign nodule": 5.0, "suspicious nodule": 3.0}[f.name]
    # What lies behind: brighter after fluid, dark after a tumour.
    gain = {"simple cyst": 9.0, "benign nodule": 2.0, "suspicious nodule": -15.0}[f.name] * strength
    xx = (np.arange(n, dtype=np.float32) + 0.5 - cx) / np.float32(0.85 * rx)
    profile = np.exp(-(xx**4))[None, :]
    yy = (np.arange(n, dtype=np.float32) + 0.5 - cy)[:, None] / np.float32(ry)
    behind += gain * profile * np.clip(yy - 0.75, 0, 0.5) * 2
    return Part(
        f.name, mask, granularity="lesion", finding=f.name, attributes={"size_mm": round(f.size * shrink, 1)}
    ), tall
