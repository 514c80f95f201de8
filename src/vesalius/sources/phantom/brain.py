"""Brain MR: skull, cortex with sulci, white matter, nuclei, ventricles, lobes; lesions; atrophy. T1 and T2 volumes."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from vesalius.cases import Affine, Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import smooth

FOV_MM = 200.0
CODES = ("air", "skin", "bone", "csf", "grey", "white", "nuclei", "tumour", "oedema", "spot", "infarct")
T1 = (0.0, 0.85, 0.06, 0.14, 0.46, 0.72, 0.52, 0.36, 0.50, 0.52, 0.40)
T2 = (0.0, 0.55, 0.04, 0.95, 0.55, 0.36, 0.44, 0.70, 0.78, 0.82, 0.80)
#: Middle of each lobe in the left half (x to the left, y to the back, z up), as shares of the brain's half axes.
LOBES = {
    "frontal": (0.45, -0.55, 0.25),
    "parietal": (0.48, 0.30, 0.55),
    "temporal": (0.72, 0.0, -0.30),
    "occipital": (0.38, 0.72, 0.05),
}


def draw(brief: Brief) -> Picture:
    """T1- and T2-weighted volumes, uint16 `(D, H, W)`, on one grid."""
    n = brief.size_3d
    step = FOV_MM / n
    rng, pose = brief.body("brain"), brief.visit("pose")
    i = ((np.arange(n, dtype=np.float32) + 0.5) * step - FOV_MM / 2).astype(np.float32)
    off = pose.uniform(-3, 3, 3)
    z, y, x = (i + off[0])[:, None, None], (i + off[1])[None, :, None], (i + off[2])[None, None, :]
    size = (0.97 if brief.patient.sex == "F" else 1.02) * float(np.exp(rng.normal(0, 0.025)))
    ax, ay, az = 68 * size, 84 * size, 66 * size
    atrophy = brief.get("brain atrophy")
    loss = 0.0 if atrophy is None else (0.25 + 0.75 * atrophy.score) * min(1.1, brief.contrast + 0.1)
    ex, ey, ez = x / ax, y / ay, z / az
    # The base of the brain is flatter than the vault, the front narrower than the back.
    ez = np.where(ez < 0, ez * 1.25, ez)
    ex = ex * (1 + 0.10 * np.clip(-ey, 0, 1))
    r = np.sqrt(ex * ex + ey * ey + ez * ez)
    shape = r.shape
    code = np.zeros(shape, np.uint8)
    code[r < 1.17] = 1
    code[r < 1.11] = 2
    code[r < 1.035] = 3
    # Sulci: sheets where a field over directions crosses zero, so that they run inwards from the surface; deeper and
    # wider with atrophy, and each ends at its own depth.
    field = _folds(rng, (ex, ey, ez), r) + 0.55 * smooth(rng, shape, 11)
    # The cerebellum's leaves are finer and lie nearly flat.
    below = (ez < -0.42) & (ey > 0.12)
    field = np.where(below, 1.6 * np.sin((z + 0.25 * y) * np.float32(2 * np.pi / 11) + 0.5 * field), field)
    folds = np.abs(field)
    depth = 0.64 - 0.05 * loss + 0.07 * smooth(rng, shape, 5)
    wide = 0.14 + 0.20 * loss
    sulcus = (folds < wide * np.clip((r - depth) / 0.22, 0, 1)) & (r > depth)
    # The fissure between the temporal lobe and those above it.
    sylvian = (np.abs(ez + 0.10 - 0.9 * ey) < 0.022 + 0.02 * loss) & (np.abs(ex) > 0.62) & (np.abs(ey + 0.1) < 0.42)
    sulcus |= sylvian & (r > 0.6)
    brain = (r < 0.985 - 0.015 * loss) & ~sulcus
    midline = (np.abs(x) < 1.2 + 1.5 * loss) & (z > 8) & (r > 0.55)
    brain &= ~midline
    # The cortex follows the surface and the walls of the sulci, about 3 mm thick.
    to_fluid = distance_transform_edt(brain, sampling=step)
    grey = brain & (to_fluid <= max(3.3 - 0.8 * loss, 1.01 * step))
    code[brain] = 5
    code[grey] = 4
    # Ventricles: two curved horns, wider with atrophy; third ventricle.
    w = 1 + 0.95 * loss
    horn = np.zeros(shape, bool)
    for s in (-1.0, 1.0):
        # Butterfly: close together in the middle, apart in front and, more so, behind; thin at both ends.
        centre_x = s * (6.5 + 5.5 * loss + 0.016 * np.clip(y, 0, 50) ** 2 / 2 + 0.012 * np.clip(-y, 0, 40) ** 2 / 2)
        top = 16 - 0.010 * y**2
        end = 1 - (np.abs(y + 2) / (43 * w**0.3)) ** 3
        horn |= ((x - centre_x) / (5.0 * w)) ** 2 + ((z - top) / (9.0 * w**0.7)) ** 2 < end
    third = (x / (2.2 * w)) ** 2 + ((y - 4) / 15) ** 2 + ((z + 2) / 10) ** 2 < 1
    ventricles = (horn | third) & (r < 0.9)
    nuclei = np.zeros(shape, bool)
    for s in (-1.0, 1.0):
        nuclei |= ((x - s * 13) / 8) ** 2 + ((y - 12) / 13) ** 2 + ((z - 3) / 9) ** 2 < 1
        nuclei |= ((x - s * 24) / 7) ** 2 + ((y + 6) / 16) ** 2 + ((z - 4) / 11) ** 2 < 1
        nuclei |= ((x - s * 15) / 4.5) ** 2 + ((y + 20) / 9) ** 2 + ((z - 12) / 8) ** 2 < 1
    nuclei &= brain & ~ventricles
    code[nuclei] = 6
    code[ventricles] = 3
    full = brain | ventricles
    parts = [
        Part("brain", full),
        Part("ventricles", ventricles),
        Part("deep nuclei", nuclei),
        Part("grey matter", code == 4),
        Part("white matter", code == 5),
    ]
    lobe = _lobes(ex, ey, ez)
    cortex = full & ~ventricles & ~nuclei
    for k, name in enumerate(LOBES):
        for side in ("left", "right"):
            half = (x > 0) if side == "left" else (x < 0)
            parts.append(
                Part(f"{side} {name} lobe", cortex & (lobe == k) & half, attributes={"side": side, "zone": name})
            )
    lesions = _lesions(brief, code, full & ~ventricles, (x, y, z), (ax, ay, az))
    if atrophy is not None:
        lesions.append(Part("brain atrophy", ventricles, granularity="lesion", finding=atrophy.name))
    parts += lesions
    images = []
    affine = Affine.from_spacing((step,) * 3, (float(x.flat[0]), float(y.flat[0]), float(z.flat[0])))
    bias = np.exp(0.10 * smooth(brief.visit("coil"), shape, 2))
    for k, (name, table) in enumerate((("T1", T1), ("T2", T2))):
        values = np.asarray(table, np.float32)
        healthy = values[5]
        strength = min(1.15, brief.contrast + 0.1)
        values[7:] = healthy + (values[7:] - healthy) * strength
        signal = values[code] * bias * (1 + 0.03 * smooth(brief.body("mr texture"), shape, max(2, n // 6)))
        signal = gaussian_filter(signal, 0.55 + 0.3 * brief.patient.device.blur, mode="nearest")
        noise = brief.visit("noise", k)
        level = np.float32(0.016 * brief.noise * brief.patient.device.noise)
        signal = np.hypot(
            signal + level * noise.standard_normal(shape, dtype=np.float32),
            level * noise.standard_normal(shape, dtype=np.float32),
        )
        images.append(
            Image(
                array=np.clip(signal * 1000 * brief.patient.device.gain, 0, 4095).astype(np.uint16),
                modality="MR",
                view="AXIAL",
                kind="3d",
                spacing=(step,) * 3,
                affine=affine,
                body_part="brain",
                meta={"sequence": name},
            )
        )
    ml = step**3 / 1000
    labels = {
        "brain volume": Label(round(float(full.sum() * ml), 1), unit="mL", source="phantom"),
        "ventricle volume": Label(round(float(ventricles.sum() * ml), 2), unit="mL", source="phantom"),
    }
    return Picture(tuple(images), tuple(parts), brief.findings, labels)


def _folds(rng: np.random.Generator, e: tuple[Array, Array, Array], r: Array) -> Array:
    """A field of unit variance that depends on the direction alone: plane waves on the sphere, some 25 sulci around."""
    out = np.zeros(r.shape, np.float32)
    unit = [(a / np.maximum(r, 0.2)).astype(np.float32) for a in e]
    for _ in range(8):
        k = rng.standard_normal(3)
        k *= rng.uniform(10, 17) / np.linalg.norm(k)
        phase = sum(u * np.float32(w) for u, w in zip(unit, k, strict=True)) + np.float32(rng.uniform(0, 2 * np.pi))
        out += np.cos(phase)
    return out * np.float32(0.5)


def _lobes(ex: Array, ey: Array, ez: Array) -> Array:
    """Index of the nearest lobe centre."""
    best, out = None, None
    for k, (cx, cy, cz) in enumerate(LOBES.values()):
        d = (np.abs(ex) - cx) ** 2 + (ey - cy) ** 2 + (ez - cz) ** 2
        if best is None or out is None:
            best, out = d, np.zeros(d.shape, np.uint8)
        else:
            nearer = d < best
            out[nearer], best[nearer] = k, d[nearer]
    return np.asarray(out)


def _lesions(
    brief: Brief, code: Array, inside: Array, axes: tuple[Array, Array, Array], half: tuple[float, float, float]
) -> list[Part]:
    x, y, z = axes
    parts: list[Part] = []
    taken = np.zeros(code.shape, bool)

    def keep(name: str, mask: Array, value: int, **attributes: float) -> None:
        mask = mask & inside & ~taken
        code[mask] = value
        taken[mask] = True
        parts.append(Part(name, mask, granularity="lesion", finding=name, attributes=attributes))

    tumour = brief.get("brain tumour")
    if tumour is not None:
        c = brief.body("lesion", tumour.name)
        s = 1.0 if tumour.side == "left" else -1.0
        at = np.asarray(LOBES[tumour.zone]) * half * np.asarray((s, 1, 1)) * 0.80
        rad = tumour.size / 2
        d = np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2)
        rough = 1 + 0.07 * smooth(c, code.shape, 7)
        swell = (d < rad * (1.55 + 0.25 * smooth(c, code.shape, 6))) & inside
        keep(tumour.name, d < rad * np.minimum(rough, 1.0), 7, size_mm=tumour.size)
        oedema = swell & ~taken & (code == 5)
        code[oedema] = 8
    infarct = brief.get("infarct")
    if infarct is not None:
        c = brief.body("lesion", infarct.name)
        s = 1.0 if infarct.side == "left" else -1.0
        at = np.asarray(LOBES[infarct.zone]) * half * np.asarray((s, 1, 1))
        at = at / np.linalg.norm(at / half) * 0.82
        d = np.sqrt((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2)
        m = (d < infarct.size / 2 * (0.92 + 0.08 * np.tanh(smooth(c, code.shape, 6)))) & ((x * s) > 2)
        keep(infarct.name, m & np.isin(code, (4, 5)), 10, size_mm=infarct.size)
    spots = brief.get("white matter lesions")
    if spots is not None:
        c = brief.body("lesion", spots.name)
        step = FOV_MM / code.shape[0]
        done: list[Array] = []
        for k in range(spots.count):
            rad = max(float(c.uniform(2.4, 4.6)), 0.75 * step)
            best, gap = np.zeros(3), -np.inf
            for _ in range(24):
                side = c.choice((-1.0, 1.0))
                p = np.asarray((side * c.uniform(15, 38), c.uniform(-42, 42), c.uniform(6, 34)))
                index = tuple(
                    int(np.clip(np.argmin(np.abs(a.ravel() - v)), 0, code.shape[0] - 1))
                    for a, v in zip((z, y, x), p[::-1], strict=True)
                )
                g = 0.0 if code[index] == 5 and not taken[index] else -100.0
                if done:
                    g += min(0.0, float(np.linalg.norm(np.asarray(done) - p, axis=1).min()) - 2.6 * max(rad, step))
                if g > gap:
                    best, gap = p, g
                if g >= 0:
                    break
            done.append(best)
            d = (x - best[0]) ** 2 + (y - best[1]) ** 2 + ((z - best[2]) * 0.9) ** 2
            m = d < rad**2
            if not (m & inside & ~taken).any():
                m = d <= d.min() + 1e-6
            keep(spots.name, m, 9, number=k + 1)
    return parts
