"""Live cells in phase contrast: they wander, divide, die or leave the field, and each is tracked through the frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vesalius.cases import Image, Label
from vesalius.sources.phantom.model import Array, Brief, Part, Picture
from vesalius.sources.phantom.paint import at_least_one, fractal, smooth, star_local, to_bytes, window, wobble

#: Field across, time between frames, radius of a spread cell.
FIELD_UM, MINUTES, RADIUS_UM = 260.0, 10.0, 11.0
#: Mean speed in micrometres a minute above which motility counts as increased.
FAST = 0.7


@dataclass
class Cell:
    """One cell while it is simulated.

    Args:
        number: Its identity, from 1.
        born: First frame.
        at: Place (y, x) in micrometres.
        radius: In micrometres.
        parent: Number of the mother, 0 for none.
        divides: Frame in which it is two, 0 for never.
        dies: Frame in which it is gone, 0 for never.
        path: Place in every frame since `born`.
        velocity: Micrometres a frame.
    """

    number: int
    born: int
    at: Array
    radius: float
    parent: int = 0
    divides: int = 0
    dies: int = 0
    path: list[Array] = field(default_factory=list)
    velocity: Array = field(default_factory=lambda: np.zeros(2))

    def stage(self, frame: int) -> tuple[float, float]:
        """How far it is rounded up before division, and broken up before death, in a frame (0 to 1)."""
        near = max(0.0, 1 - (self.divides - 1 - frame) / 2) if self.divides else 0.0
        fresh = max(0.0, 0.6 - 0.3 * (frame - self.born)) if self.parent else 0.0
        dying = max(0.0, 1 - (self.dies - 1 - frame) / 3) if self.dies else 0.0
        return max(min(1.0, near), fresh), min(1.0, dying)


def draw(brief: Brief) -> Picture:
    """One video, uint8 `(T, H, W)`; every cell boxed in every frame, with its track and its mother."""
    n, frames = brief.size, brief.frames
    px = n / FIELD_UM
    cells = simulate(brief)
    video, masks = _film(brief, cells, px)
    parts = [Part("field", np.ones(video.shape, bool), granularity="field")]
    fast = brief.get("increased cell motility")
    steps: list[float] = []
    per_frame = [0] * frames
    for cell in cells:
        seen = masks[cell.number]
        if not seen:
            continue
        tube = np.zeros(video.shape, bool)
        facts: dict[str, str | int] = {"track": cell.number, "parent": cell.parent, "fate": _fate(cell, seen, frames)}
        for t, mask in seen.items():
            tube[t] = mask
            per_frame[t] += 1
            parts.append(Part("cell", mask, granularity="cell", attributes={**facts, "frame": t}, frame=t))
            if t - 1 in seen:
                steps.append(float(np.linalg.norm(cell.path[t - cell.born] - cell.path[t - 1 - cell.born])))
        parts.append(
            Part(
                "cell track", tube, granularity="track", finding=fast.name if fast is not None else "", attributes=facts
            )
        )
    parts += _events(cells, masks, video.shape)
    speed = float(np.mean(steps)) / MINUTES if steps else 0.0
    labels = {
        "cell tracks": Label(sum(bool(m) for m in masks.values()), unit="{cells}", source="phantom"),
        "mean speed": Label(round(speed, 3), unit="um/min", source="phantom"),
    }
    for t, count in enumerate(per_frame):
        labels[f"cell count in frame {t}"] = Label(count, unit="{cells}", source="phantom")
    picture = Image(
        array=video,
        modality="GM",
        kind="video",
        body_part="cell culture",
        # Time has no millimetres, so the size of a pixel is told beside the array.
        meta={"pixel_mm": FIELD_UM / 1000 / n, "seconds_per_frame": MINUTES * 60},
    )
    return Picture((picture,), tuple(parts), brief.findings, labels)


def simulate(brief: Brief) -> list[Cell]:
    """All cells with their paths: persistent random walks (Ornstein-Uhlenbeck velocity) that push each other apart."""
    frames = brief.frames
    rng = brief.body("culture")
    walk = brief.visit("walk")
    fast = brief.get("increased cell motility")
    speed = FAST * MINUTES * (float(rng.uniform(0.3, 0.6)) if fast is None else 1.4 + fast.score)
    cells: list[Cell] = []
    for k in range(int(rng.integers(11, 17))):
        options = rng.uniform(RADIUS_UM, FIELD_UM - RADIUS_UM, (20, 2))
        gaps = [min((float(np.linalg.norm(p - c.at)) for c in cells), default=1e9) for p in options]
        cells.append(Cell(k + 1, 0, options[int(np.argmax(gaps))], RADIUS_UM * float(np.exp(rng.normal(0, 0.12)))))
    # Those in the middle are the ones that something happens to, so that it happens in the picture.
    order = sorted(cells, key=lambda c: float(np.linalg.norm(c.at - FIELD_UM / 2)))
    dividing, dying = brief.get("cell division"), brief.get("apoptotic cell")
    events = brief.body("events")
    n_dividing = dividing.count if dividing is not None else 0
    for cell in order[:n_dividing]:
        cell.divides = int(events.integers(1, frames))
    for cell in order[n_dividing : n_dividing + (dying.count if dying is not None else 0)]:
        cell.dies = int(events.integers(1, frames))
    for t in range(frames):
        for mother in [c for c in cells if c.divides == t and t]:
            angle = float(walk.uniform(0, 2 * np.pi))
            for s in (-1, 1):
                at = mother.at + s * 0.75 * mother.radius * np.asarray((np.sin(angle), np.cos(angle)))
                cells.append(Cell(len(cells) + 1, t, at, mother.radius * 0.84, mother.number))
        here = [c for c in cells if _alive(c, t)]
        if t:
            _step(here, speed, walk, t)
        for c in here:
            c.path.append(c.at.copy())
    return cells


def _alive(cell: Cell, frame: int) -> bool:
    end = cell.divides or cell.dies
    return cell.born <= frame and not (end and frame >= end)


def _step(here: list[Cell], speed: float, rng: np.random.Generator, t: int) -> None:
    """Move all cells by one frame; `speed` is the mean length of a step."""
    drive = rng.standard_normal((len(here), 2))
    for c, d in zip(here, drive, strict=True):
        rounded, dying = c.stage(t)
        # A step's length has a Rayleigh distribution, whose mean is sigma * sqrt(pi / 2).
        target = d * speed / np.sqrt(np.pi / 2)
        c.velocity = (0.75 * c.velocity + np.sqrt(1 - 0.75**2) * target) if c.velocity.any() else target
        if c.born < t:
            c.at = c.at + c.velocity * (1 - 0.6 * max(rounded, dying))
    places = np.asarray([c.at for c in here])
    radii = np.asarray([c.radius for c in here])
    gap = places[:, None] - places[None]
    far = np.linalg.norm(gap, axis=-1) + 1e-6
    push = np.clip(0.9 * (radii[:, None] + radii[None]) - far, 0, None) * (1 - np.eye(len(here)))
    moved = 0.35 * (gap / far[..., None] * push[..., None]).sum(1)
    for c, m in zip(here, moved, strict=True):
        c.at = c.at + m
        if c.divides or c.dies:
            # What is to be seen must not leave the field before it happens.
            c.at = np.clip(c.at, c.radius, FIELD_UM - c.radius)


def _film(brief: Brief, cells: list[Cell], px: float) -> tuple[Array, dict[int, dict[int, Array]]]:
    """The frames, and each cell's mask in every frame until it leaves for good."""
    n, frames = brief.size, brief.frames
    shape = (n, n)
    ground = 0.52 + 0.025 * smooth(brief.body("light"), shape, 2) + 0.012 * fractal(brief.body("ground"), shape, 12, 3)
    texture = fractal(brief.body("cytoplasm"), (n, n), max(4, n // 7), 2)
    noise = brief.visit("noise")
    gain = float(min(1.15, 0.35 + 0.65 * brief.contrast))
    masks: dict[int, dict[int, Array]] = {c.number: {} for c in cells}
    left: set[int] = set()
    video = np.zeros((frames, n, n), np.uint8)
    for t in range(frames):
        image = ground.copy()
        for c in cells:
            if not _alive(c, t) or c.number in left:
                continue
            at = c.path[t - c.born]
            if not (
                -0.3 * c.radius < at[0] < FIELD_UM + 0.3 * c.radius
                and -0.3 * c.radius < at[1] < FIELD_UM + 0.3 * c.radius
            ):
                left.add(c.number)
                continue
            masks[c.number][t] = _paint(image, brief, c, t, at * px, c.radius * px, texture, gain)
        image += noise.standard_normal(shape, dtype=np.float32) * np.float32(0.016 * brief.noise)
        video[t] = to_bytes(image)
    return video, masks


def _paint(image: Array, brief: Brief, c: Cell, t: int, at: Array, r: float, texture: Array, gain: float) -> Array:
    """Draw one cell: a dark, grainy body in a bright halo; a mask of the image's shape."""
    n = image.shape[0]
    shape = (n, n)
    own = brief.body("cell", c.number)
    rounded, dying = c.stage(t)
    r = r * (1 - 0.22 * rounded) * (1 - 0.35 * dying)
    stretch = 1 + float(own.uniform(0.1, 0.75)) * (1 - max(rounded, dying))
    wave = wobble(own, 0.11 * (1 - rounded) + 0.02, 5)
    wave = (wave[0], wave[1] + 0.25 * t)
    heading = float(np.arctan2(c.velocity[0], c.velocity[1])) + float(own.uniform(-0.4, 0.4))
    ry, rx = r / np.sqrt(stretch), r * np.sqrt(stretch)
    mask = np.zeros(shape, bool)
    w = window(at[0], at[1], 2.6 * r + 4, shape)
    if w is not None:
        where, dy, dx = w
        soft = max(1.0, 0.10 * r)
        body = star_local(dy, dx, ry, rx, heading, wave, soft)
        outer = star_local(dy, dx, ry * 1.30, rx * 1.24, heading, wave, max(2.0, 0.5 * r))
        part = image[where]
        part += np.clip(outer - body, 0, 1) * (0.13 + 0.30 * max(rounded, dying)) * gain
        inside = (-0.12 + 0.055 * texture[where]) * (1 - rounded) + (0.10 + 0.02 * texture[where]) * rounded
        part += body * inside * gain * (1 - dying)
        nucleus = star_local(dy - 0.12 * r, dx, 0.40 * ry, 0.40 * rx, heading, wobble(own, 0.05, 3), max(1.0, 0.12 * r))
        part += nucleus * 0.06 * (1 - rounded) * (1 - dying) * gain
        # The plate of chromosomes, just before it divides.
        part -= (
            star_local(dy, dx, 0.5 * r, 0.14 * r + 0.4, heading, wobble(own, 0.05, 3), 1.0)
            * 0.22
            * gain
            * (rounded > 0.95)
        )
        if dying > 0:
            for _ in range(6):
                a, d, s = own.uniform(0, 6.28), own.uniform(0.2, 0.85) * r, own.uniform(0.22, 0.38) * r
                bleb = star_local(
                    dy - d * np.sin(a), dx - d * np.cos(a), max(s, 0.8), max(s, 0.8), 0.0, wobble(own, 0.02, 2), 1.0
                )
                part += bleb * float(own.choice((-0.25, 0.38))) * dying * gain
        mask[where] = body > 0.5
    return at_least_one(mask, (int(np.clip(at[0], 0, n - 1)), int(np.clip(at[1], 0, n - 1))))


def _fate(cell: Cell, seen: dict[int, Array], frames: int) -> str:
    last = max(seen)
    if last == frames - 1:
        return "stays"
    if cell.divides == last + 1:
        return "divides"
    return "dies" if cell.dies == last + 1 else "leaves"


def _events(cells: list[Cell], masks: dict[int, dict[int, Array]], shape: tuple[int, ...]) -> list[Part]:
    """Divisions (the mother's last frame and the daughters' first) and deaths (the last frames) as space-time masks."""
    parts: list[Part] = []
    for c in cells:
        seen = masks[c.number]
        tube = np.zeros(shape, bool)
        if c.divides and c.divides - 1 in seen:
            tube[c.divides - 1] = seen[c.divides - 1]
            for d in (d for d in cells if d.parent == c.number):
                if c.divides in masks[d.number]:
                    tube[c.divides] |= masks[d.number][c.divides]
            parts.append(_event("cell division", tube, c))
        elif c.dies and c.dies - 1 in seen:
            for t in range(max(0, c.dies - 3), c.dies):
                if t in seen:
                    tube[t] = seen[t]
            parts.append(_event("apoptotic cell", tube, c))
    return parts


def _event(name: str, tube: Array, cell: Cell) -> Part:
    return Part(name, tube, granularity="lesion", finding=name, attributes={"track": cell.number})
