"""CT, PET and MR of the trunk, and the lateral film: the intervals of `anatomy` filled into a volume."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.cases import Affine, Image, Label
from vesalius.sources.phantom import lungtree
from vesalius.sources.phantom.anatomy import SIGN, Interval, Trunk, ellipsoid, make_trunk
from vesalius.sources.phantom.lesions import effusion_sides, lung_lesions, organ_lesions
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import smooth
from vesalius.sources.phantom.projection import MU, display, expose
from vesalius.sources.phantom.tissue import CODE, CODES, HU, SUV, T1, T2


@dataclass
class Painted:
    """A painted volume `(Z, Y, X)`: codes, organ and lesion masks, the share of lung vessels, the grid in mm."""

    code: Array
    organs: dict[str, Array]
    lesions: list[tuple[str, str, float, Array, int]]
    vessels: Array
    x: Array
    y: Array
    z: Array


def paint(trunk: Trunk, brief: Brief, x: Array, y: Array, z: Array, *, supine: bool = True) -> Painted:
    """Fill a volume from the inside of the skin to the lesions, later organs over earlier ones.

    Args:
        trunk: The anatomy.
        brief: The findings.
        x: `(1, X)` columns in mm.
        y: `(Y,)` rows in mm.
        z: `(Z, 1)` slices in mm.
        supine: Fluid lies at the back and air in front; else upright.
    """
    shape = (z.shape[0], y.shape[0], x.shape[1])
    code = np.zeros(shape, np.uint8)
    yy = y[None, :, None]

    def fill(interval: Interval) -> Array:
        front, back = np.broadcast_arrays(*interval)
        if front.ndim == 2 and front.shape != (shape[0], shape[2]):
            front, back = (np.broadcast_to(a, (shape[0], shape[2])) for a in (front, back))
        return np.asarray((yy >= front[:, None, :]) & (yy < back[:, None, :]))

    body = trunk.body(x, z)
    skin = fill(body)
    code[skin] = CODE["fat"]
    organs: dict[str, Array] = {}
    # Muscle wall: the body shrunk by its fat.
    a, b, yc = trunk.cage(z)
    wall = np.maximum((1 - (x / (a + 24)) ** 2), 0) ** 0.5 * (b + 15)
    high = z > trunk.top - 6
    wall = np.where(high, np.maximum((1 - (x / 50) ** 2), 0) ** 0.5 * 46, wall)
    code[fill((yc - wall, yc + wall)) & skin] = CODE["muscle"]
    inner = np.maximum(1 - (x / (a + 8)) ** 2, 0) ** 0.5 * (b + 2)
    belly = fill((yc - inner, yc + inner)) & (z[:, :, None] < 10) & skin
    code[belly] = CODE["abdomen"]
    lungs = {s: trunk.lung_cage(x, z, s) for s in SIGN}
    domes = {s: fill(trunk.dome(x, z, s)) for s in SIGN}
    cages = {s: fill(lungs[s]) for s in SIGN}
    heart = fill(trunk.heart(x, z)) & skin
    great = np.zeros(shape, bool)
    aorta = np.zeros(shape, bool)
    for name, v in trunk.vessels(x, z).items():
        m = fill(v) & skin
        great |= m
        if name in ("descending", "arch", "ascending"):
            aorta |= m
    for s in SIGN:
        organs[f"{s} lung"] = cages[s] & ~domes[s] & ~heart & ~great
        code[organs[f"{s} lung"]] = CODE["lung"]
    code[heart] = CODE["heart"]
    code[great] = CODE["aorta"]
    code[aorta] = CODE["aorta"]
    field = trunk.abdomen(x, z)
    under = domes["left"] | domes["right"] | (z[:, :, None] < min(trunk.domes.values()) - 46)
    for name, interval in field.items():
        m = fill(interval) & under & skin & ~heart
        if name == "spleen":
            m &= ~organs["left kidney"] if "left kidney" in organs else True
        for other in ("liver", "spleen"):
            if name != other and other in organs:
                m &= ~organs[other]
        m &= ~aorta
        organs[name] = m
        code[m] = CODE["kidney" if "kidney" in name else name]
    gas = fill(ellipsoid(x, z, (0.42 * trunk.half_width, -38, trunk.domes["left"] - 48), (26, 14, 20)))
    code[gas & organs["stomach"]] = CODE["gas"]
    spine = fill(trunk.spine(x, z)) & skin
    code[spine] = CODE["marrow"]
    _ribs(trunk, code, x, yy, z, skin)
    for s in SIGN:
        m = fill(trunk.clavicle(x, z, s)) & skin
        code[m] = CODE["bone"]
    for tube in trunk.trachea(x, z).values():
        m = fill(tube) & skin & ~spine
        code[m] = CODE["airway"]
        for s in SIGN:
            organs[f"{s} lung"] &= ~m
    for s in SIGN:
        # Lobes: an oblique fissure on both sides, a horizontal one on the right.
        oblique = (yy - 10) * 0.95 + 62 > z[:, :, None]
        lung = organs[f"{s} lung"] & (code == CODE["lung"])
        organs[f"{s} lung"] = lung
        organs[f"{s} lower lobe"] = lung & oblique
        organs[f"{s} upper lobe"] = lung & ~oblique
        if s == "right":
            middle = organs["right upper lobe"] & (z[:, :, None] < 92)
            organs["right middle lobe"] = middle
            organs["right upper lobe"] = organs["right upper lobe"] & ~middle
    organs["heart"], organs["aorta"], organs["spine"] = (
        heart & (code == CODE["heart"]),
        aorta & (code == CODE["aorta"]),
        spine,
    )
    vessels = np.zeros(shape, np.float32)
    for s in SIGN:
        vessels += _lung_vessels(trunk, brief, x, yy, z, s) * organs[f"{s} lung"]
    lesions: list[tuple[str, str, float, Array, int]] = []
    _pleura(trunk, brief, code, organs, lesions, x, yy, z, lungs, supine)
    for lesion in lung_lesions(trunk, brief, x, z, lungs):
        m = np.zeros(shape, bool)
        for piece in lesion.pieces:
            m |= fill(piece)
        lung = organs[f"{lesion.finding.side} lung"]
        m = _some(m & lung, lung, lesion.centre, (x, yy, z))
        code[m] = CODE["lesion"]
        lesions.append((lesion.finding.name, lesion.finding.side, lesion.size, m, lesion.number))
    for lesion in organ_lesions(trunk, brief, x, z, field):
        name = lesion.finding.name
        m = np.zeros(shape, bool)
        for piece in lesion.pieces:
            m |= fill(piece)
        if name == "renal cyst":
            kidney = f"{lesion.finding.side} kidney"
            m = _some(m & skin & ~spine, organs[kidney], lesion.centre, (x, yy, z))
            for organ in ("liver", "spleen", "stomach"):
                organs[organ] = organs[organ] & ~m
            organs[kidney] = organs[kidney] | m
        else:
            free = organs["liver"].copy()
            for entry in lesions:
                free &= ~entry[3]
            m = _some(m & free, free, lesion.centre, (x, yy, z))
        code[m] = CODE["lesion"]
        lesions.append((name, lesion.finding.side, lesion.size, m, lesion.number))
    return Painted(code, organs, lesions, vessels, x, y, z)


def _some(mask: Array, home: Array, centre: tuple[float, float, float], axes: tuple[Array, Array, Array]) -> Array:
    """The mask, or the voxel of its organ nearest to its centre where it is smaller than a voxel."""
    if mask.any() or not home.any():
        return mask
    x, yy, z = axes
    d = (x[None, :, :] - centre[0]) ** 2 + (yy - centre[1]) ** 2 + (z[:, :, None] - centre[2]) ** 2
    out = np.zeros_like(mask)
    out[np.unravel_index(int(np.where(home, d, np.inf).argmin()), out.shape)] = True
    return out


def _ribs(trunk: Trunk, code: Array, x: Array, yy: Array, z: Array, skin: Array) -> None:
    a, b, yc = trunk.cage(z)
    zz = z[:, :, None]
    dx, dy = (x[:, None, :] / a[:, :, None]), ((yy - yc[:, :, None]) / b[:, :, None])
    r = np.sqrt(dx * dx + dy * dy)
    cosine = dy / np.maximum(r, 1e-3)
    q = trunk.rib_number(zz, cosine)
    k = np.round(q)
    thick = 10.0 / np.minimum(a, b)[:, :, None]
    shell = (r > 1.0) & (r < 1.0 + thick) & (np.abs(q - k) < 0.30) & (k >= 0) & (k <= 11) & skin
    shell &= (cosine > -0.62) | (k < 7)
    shell &= cosine > -0.93
    code[shell] = CODE["bone"]


def _lung_vessels(trunk: Trunk, brief: Brief, x: Array, yy: Array, z: Array, side: str) -> Array:
    texture = lungtree.volume(int(brief.body("markings", side).integers(lungtree.TREES)))
    a, b, yc = trunk.cage(z)
    m = trunk.medial(z, side)
    up, deep, across = texture.shape
    u = (x * np.float32(SIGN[side]) - m) / np.maximum(a - m, 1)
    iu = np.clip((u * across).astype(np.int32), 0, across - 1)
    v = (z - (trunk.domes[side] - 30)) / np.float32(trunk.top - trunk.domes[side] + 30)
    iv = np.clip((v * up).astype(np.int32), 0, up - 1)
    w = (yy - yc[:, :, None]) / (2 * b[:, :, None]) + 0.5
    iw = np.clip((w * deep).astype(np.int32), 0, deep - 1)
    return np.asarray(texture[iv[:, :, None], iw, iu[:, None, :]], np.float32) / 255


def _pleura(
    trunk: Trunk,
    brief: Brief,
    code: Array,
    organs: dict[str, Array],
    lesions: list[tuple[str, str, float, Array, int]],
    x: Array,
    yy: Array,
    z: Array,
    lungs: dict[str, Interval],
    supine: bool,
) -> None:
    """Fluid and air between lung and wall: at the back and in front when supine, below and above when upright."""
    zz = z[:, :, None]
    fluid = brief.get("pleural effusion")
    if fluid is not None:
        for s in effusion_sides(fluid):
            back = lungs[s][1][:, None, :]
            if supine:
                t = fluid.size * 0.55 * np.clip((trunk.top - 30 - zz) / 150, 0, 1)
                m = organs[f"{s} lung"] & (yy > back - t)
            else:
                u = np.clip(np.abs(x) / np.float32(trunk.half_width), 0, 1)[:, None, :]
                m = organs[f"{s} lung"] & (zz < trunk.domes[s] - 30 + fluid.size * (0.30 + 1.0 * u**3) + 0.12 * yy)
            code[m] = CODE["fluid"]
            lesions.append((fluid.name, s, fluid.size, m, 1))
    air = brief.get("pneumothorax")
    if air is not None:
        s = air.side
        front = lungs[s][0][:, None, :]
        if supine:
            t = air.size * 0.7 * np.clip((zz - trunk.domes[s] + 20) / 60, 0, 1)
            m = organs[f"{s} lung"] & (yy < front + t) & (code != CODE["fluid"])
        else:
            m = organs[f"{s} lung"] & (zz > trunk.top - air.size * 1.1)
        code[m] = CODE["free air"]
        lesions.append((air.name, s, air.size, m, 1))


def _table(code: Array, painted_y: Array, x: Array, trunk: Trunk) -> None:
    back = trunk.half_depth + 16 + 0.8 * trunk.fat
    line = back + 10 - 14 * (x[0] / 200) ** 2 * -1
    near = np.abs(painted_y[:, None] - line[None, :]) < 5
    code[(code == 0) & near[None] & (np.abs(x[0]) < 195)[None, None, :]] = CODE["table"]


def _grid(brief: Brief, trunk: Trunk) -> tuple[Array, Array, Array, float]:
    n = brief.size_3d
    pose = brief.visit("pose")
    fov = max(400.0, 2.0 * (trunk.half_width + 16 + trunk.fat) + 24)
    step = fov / n
    i = (np.arange(n, dtype=np.float32) + 0.5) * np.float32(step) - np.float32(fov / 2)
    x = (i + float(pose.uniform(-8, 8)))[None, :].astype(np.float32)
    y = (i + 8 + float(pose.uniform(-6, 6))).astype(np.float32)
    z = (i + 40 + float(pose.uniform(-8, 8)))[:, None].astype(np.float32)
    return x, y, z, step


def _scene(brief: Brief) -> tuple[Trunk, Painted, float, Affine]:
    trunk = make_trunk(brief, arms_up=True)
    x, y, z, step = _grid(brief, trunk)
    painted = paint(trunk, brief, x, y, z)
    affine = Affine.from_spacing((step, step, step), (float(x[0, 0]), float(y[0]), float(z[0, 0])))
    return trunk, painted, step, affine


def _parts(painted: Painted, image: int = 0) -> list[Part]:
    parts = []
    for label, mask in painted.organs.items():
        side = label.split()[0] if label.split()[0] in SIGN else ""
        parts.append(Part(label, mask, image, "organ", attributes={"side": side} if side else {}))
    for name, side, size, mask, number in painted.lesions:
        attributes: dict[str, str | float | int] = {"size_mm": round(size, 1), "number": number}
        if side:
            attributes["side"] = side
        parts.append(Part(name, mask, image, "lesion", finding=name, attributes=attributes))
    if "spleen" in painted.organs:
        parts.append(Part("splenomegaly", painted.organs["spleen"], image, "lesion", finding="splenomegaly"))
    parts.append(Part("cardiomegaly", painted.organs["heart"], image, "lesion", finding="cardiomegaly"))
    return parts


def _mine(parts: list[Part], brief: Brief) -> tuple[Part, ...]:
    """Without lesion parts of findings that are not there."""
    names = {f.name for f in brief.findings}
    return tuple(p for p in parts if not p.finding or p.finding in names)


def _lookup(table: dict[str, float]) -> Array:
    return np.asarray([table.get(name, 0.0) for name in CODES], np.float32)


def _fade(painted: Painted, values: Array, contrast: float, into: Callable[[str], float]) -> None:
    """Move lesions towards the tissue they lie in when findings are to be faint."""
    if contrast >= 1:
        return
    for name, _, _, mask, _ in painted.lesions:
        if name in ("pleural effusion", "pneumothorax"):
            continue
        values[mask] += (1 - contrast) * (into(name) - values[mask])


_HOME = {
    "nodule": "lung",
    "mass": "lung",
    "consolidation": "lung",
    "atelectasis": "lung",
    "liver lesion": "liver",
    "renal cyst": "kidney",
}
_LESION_HU = {
    "liver lesion": 25.0,
    "renal cyst": 4.0,
    "consolidation": 20.0,
    "nodule": 40.0,
    "mass": 45.0,
    "atelectasis": 30.0,
}


def hounsfield(painted: Painted, brief: Brief, *, vessels: bool = True) -> Array:
    """HU of every voxel, without noise."""
    hu = _lookup({k: float(v) for k, v in HU.items()})[painted.code]
    rng = brief.body("ct texture")
    shape = hu.shape
    lung = painted.code == CODE["lung"]
    if vessels:
        hu = hu + np.where(lung, painted.vessels * 780, 0)
    texture = smooth(rng, shape, max(2, shape[0] // 5))
    hu = hu + np.where(lung, 25, 6) * texture
    belly = painted.code == CODE["abdomen"]
    bowel = smooth(rng, shape, max(2, shape[0] // 7))
    hu = np.where(belly, np.where(bowel > 0.5, 30.0, np.where(bowel < -1.9, -600.0, -95.0)), hu)
    for name, _, _, mask, _ in painted.lesions:
        if name in _LESION_HU:
            hu[mask] = _LESION_HU[name]
            if name == "consolidation":
                hu[mask] += 70 * np.minimum(texture[mask], 0.5) - 60
    _fade(painted, hu, brief.contrast, lambda n: float(HU[_HOME.get(n, "muscle")]))
    return np.asarray(hu, np.float32)


def draw_ct(brief: Brief) -> Picture:
    """A contrast-enhanced CT of chest and upper abdomen in Hounsfield units, int16 `(D, H, W)`."""
    trunk, painted, step, affine = _scene(brief)
    _table(painted.code, painted.y, painted.x, trunk)
    hu = hounsfield(painted, brief)
    sigma = 0.35 + 0.5 * brief.patient.device.blur
    hu = gaussian_filter(hu, (0.30, sigma, sigma), mode="nearest")
    noise = brief.visit("noise").standard_normal(hu.shape, dtype=np.float32)
    hu += noise * np.float32(11 * brief.noise * brief.patient.device.noise * (6.25 / step) ** 0.5)
    image = Image(
        array=np.clip(hu, -1024, 3071).astype(np.int16),
        modality="CT",
        view="AXIAL",
        kind="3d",
        spacing=(step,) * 3,
        affine=affine,
        body_part="chest",
        meta={"unit": "HU"},
    )
    labels = _measures(painted, step)
    return Picture((image,), _mine(_parts(painted), brief), brief.findings, labels)


def _measures(painted: Painted, step: float) -> dict[str, Label]:
    ml = step**3 / 1000
    return {
        f"{name} volume": Label(round(float(painted.organs[name].sum() * ml), 1), unit="mL", source="phantom")
        for name in ("liver", "spleen", "heart")
        if name in painted.organs
    }


def draw_pet(brief: Brief) -> Picture:
    """FDG PET in SUV, float32, and the CT of the same grid."""
    _, painted, step, affine = _scene(brief)
    suv = _lookup(SUV)[painted.code]
    suv *= np.exp(0.10 * smooth(brief.body("uptake"), suv.shape, 6))
    hot: dict[str, float] = {}
    rng = brief.body("suv")
    for f in brief.findings:
        hot[f.name] = round(float(3.5 + 7 * rng.random() + 2 * f.score), 1)
    labels: dict[str, Label] = {}
    for name, _, _, mask, _ in painted.lesions:
        home = SUV.get(_HOME.get(name, "muscle"), 0.7)
        suv[mask] = home + (hot[name] - home) * min(1.2, brief.contrast)
    # Heart: wall hot, cavity not; bladder is below the field.
    heart = painted.organs["heart"]
    core = gaussian_filter(heart.astype(np.float32), 18 / step) > 0.55
    suv[core & heart] = 1.7
    # The scanner blurs by about 6 mm full width at half maximum.
    suv = gaussian_filter(suv, 6.0 / 2.355 / step * 1.3, mode="nearest")
    counts = np.maximum(suv, 0.02)
    noise = brief.visit("noise").standard_normal(suv.shape, dtype=np.float32)
    suv = np.maximum(suv + noise * np.sqrt(counts) * np.float32(0.10 * brief.noise * brief.patient.device.noise), 0)
    for name, _, _, mask, _ in painted.lesions:
        if mask.any():
            labels[f"{name} SUVmax"] = Label(round(float(suv[mask].max()), 2), unit="g/mL", source="phantom")
    hu = hounsfield(painted, brief)
    hu += brief.visit("ct noise").standard_normal(hu.shape, dtype=np.float32) * 25
    common = {"view": "AXIAL", "kind": "3d", "spacing": (step,) * 3, "affine": affine, "body_part": "chest"}
    pet = Image(array=suv.astype(np.float32), modality="PT", meta={"unit": "SUV"}, **common)  # type: ignore[arg-type]  # one dict for both images
    ct = Image(array=np.clip(hu, -1024, 3071).astype(np.int16), modality="CT", meta={"unit": "HU"}, **common)  # type: ignore[arg-type]  # as above
    return Picture((pet, ct), _mine(_parts(painted), brief), brief.findings, labels)


def draw_mr(brief: Brief) -> Picture:
    """T1- and T2-weighted MR of the same grid, uint16, with a receive-coil shading."""
    _, painted, step, affine = _scene(brief)
    shape = painted.code.shape
    images = []
    bias = np.exp(0.13 * smooth(brief.visit("coil"), shape, 2))
    belly = painted.code == CODE["abdomen"]
    bowel = smooth(brief.body("ct texture"), shape, max(2, shape[0] // 7))
    for k, (name, table, lesion) in enumerate(
        (("T1", T1, {"liver lesion": 0.28, "renal cyst": 0.12}), ("T2", T2, {"liver lesion": 0.72, "renal cyst": 0.98}))
    ):
        s = _lookup(table)[painted.code]
        s = np.where(belly & (bowel > 0.5), 0.35 if name == "T1" else 0.5, s)
        for what, _, _, mask, _ in painted.lesions:
            if what in lesion:
                home = table[_HOME[what]]
                s[mask] = home + (lesion[what] - home) * min(1.2, brief.contrast)
        s = s * bias * (1 + 0.05 * smooth(brief.body("mr texture"), shape, max(2, shape[0] // 6)))
        s = gaussian_filter(s, 0.4, mode="nearest")
        rng = brief.visit("noise", k)
        level = np.float32(0.018 * brief.noise * brief.patient.device.noise)
        # Magnitude of a complex signal: Rician noise.
        real = s + level * rng.standard_normal(shape, dtype=np.float32)
        s = np.hypot(real, level * rng.standard_normal(shape, dtype=np.float32))
        images.append(
            Image(
                array=np.clip(s * 1000, 0, 4095).astype(np.uint16),
                modality="MR",
                view="AXIAL",
                kind="3d",
                spacing=(step,) * 3,
                affine=affine,
                body_part="abdomen",
                meta={"sequence": name},
            )
        )
    return Picture(tuple(images), _mine(_parts(painted), brief), brief.findings, _measures(painted, step))


def lateral(brief: Brief) -> tuple[Image, list[Part]]:
    """The lateral film of an upright patient, arms up, facing left: a volume summed from side to side."""
    trunk = make_trunk(brief, arms_up=True)
    n = brief.size
    width = 2.72 * trunk.half_width
    step = width / n
    x = np.linspace(-trunk.half_width - 20, trunk.half_width + 20, 56, dtype=np.float32)[None, :]
    dx = float(x[0, 1] - x[0, 0])
    y = ((np.arange(n, dtype=np.float32) + 0.5) * step - width / 2 + 8).astype(np.float32)
    z = (trunk.top + 40 - (np.arange(n, dtype=np.float32) + 0.5) * step)[:, None].astype(np.float32)
    painted = paint(trunk, brief, x, y, z, supine=False)
    mu = {
        k: MU["soft"] * (1 + v / 1000)
        for k, v in HU.items()
        if k not in ("aorta", "liver", "spleen", "kidney", "abdomen")
    }
    mu |= dict.fromkeys(("aorta", "liver", "spleen", "kidney", "abdomen"), MU["soft"] * 1.03)
    mu |= {"lung": MU["lung"], "bone": 0.029, "marrow": 0.031, "table": 0.0}
    values = _lookup(mu)[painted.code] + painted.vessels * np.float32(MU["soft"])
    path = values.sum(2) * np.float32(dx) * np.float32(0.72)
    rng = brief.visit("lateral")
    film = display(expose(path, rng, brief.noise * brief.patient.device.noise, step), brief.patient.device, rng, 0.25)
    image = Image(
        array=film,
        modality="DX",
        view="LATERAL",
        kind="2d",
        spacing=(step, step),
        body_part="chest",
        meta={"photometric": "MONOCHROME2"},
    )
    parts = []
    names = {f.name for f in brief.findings}
    for label in ("heart", "spine", "left lung", "right lung"):
        parts.append(Part(label, np.asarray(painted.organs[label].any(2)), 1, "organ"))
    for name, side, size, mask, _ in painted.lesions:
        if name in names:
            parts.append(
                Part(
                    name, np.asarray(mask.any(2)), 1, "lesion", finding=name, attributes={"side": side, "size_mm": size}
                )
            )
    return image, parts
