"""Training to ground phrases: which words name which box of a case, what is not there, and the losses of a batch."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.cases import Box, Case, Mask, Region
from vesalius.errors import BadInputError
from vesalius.losses.boxes import box_losses, centres, corners, overlap
from vesalius.losses.taco import WEIGHT, negative_boxes, ramp, region_cells, region_logits, taco
from vesalius.models.nano.ground import maps_of, words_of
from vesalius.models.nano.model import Nano
from vesalius.models.preprocess import U8, display_view
from vesalius.nn.grounding import Grounded, GroundNet

Floats = npt.NDArray[np.float32]
#: Boxes narrower or lower than this share of the picture are left out: a cell of the grid is four times as large.
SMALLEST = 1 / 56
#: Share of a batch's phrases that name something that is there.
PRESENT = 0.65
#: Share of a scene's true phrases that have no box, where it has both.
NAMED = 0.4
_SIDES = {"left": "right", "right": "left"}
_SIDE_WORDS = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """One box and the phrases that name it and no other box of its picture.

    Args:
        words: The phrases, the fullest first.
        box: Left, top, right, bottom as shares of the picture.
        name: What it is, without side or degree.
        side: `left`, `right` or "".
    """

    words: tuple[str, ...]
    box: tuple[float, float, float, float]
    name: str
    side: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """One picture with all that is known to be in it.

    Args:
        picture: `(H, W, 3)` as a screen shows it.
        targets: Boxes that a phrase names alone.
        shown: (name, side) of everything there, also of what no single box answers.
        group: Cases annotated alike: with `closed`, what the group names and this scene does not show is absent.
        family: Groups of the same kind of picture; names of other families are absent.
        closed: Whether the annotation names all of its vocabulary that is there.
        patient: Whose it is.
        named: Phrases that are true of the picture but whose box nobody drew; they teach the score alone.
    """

    picture: U8
    targets: tuple[Target, ...]
    shown: frozenset[tuple[str, str]]
    group: str
    family: str
    closed: bool = True
    patient: str = ""
    named: tuple[str, ...] = ()


def swap_sides(phrase: str) -> str:
    """The phrase with left and right exchanged."""
    return _SIDE_WORDS.sub(lambda m: _SIDES[m[0].lower()], phrase)


def scene_of(
    case: Case,
    *,
    image: int = 0,
    index: int | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
    group: str = "",
    family: str = "",
    closed: bool = True,
) -> Scene:
    """A case's picture and targets.

    Args:
        case: The case; regions are boxes or masks.
        image: Which image.
        index: Which slice of a volume (the middle one when None).
        names: See `targets_of`.
        group: See `Scene`.
        family: See `Scene`.
        closed: See `Scene`.
    """
    of = case.images[image]
    if of.kind != "2d" and index is None:
        index = len(of.pixels()) // 2
    picture = display_view(of, index)
    targets, shown = targets_of(case, picture.shape[:2], image=image, index=index, names=names)
    return Scene(picture, targets, shown, group, family or group, closed, case.group)


def targets_of(
    case: Case,
    size: tuple[int, ...],
    *,
    image: int = 0,
    index: int | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> tuple[tuple[Target, ...], frozenset[tuple[str, str]]]:
    """The boxes that a phrase names alone, and (name, side) of everything that is there.

    Args:
        case: The case.
        size: Height and width of the picture.
        image: Which image.
        index: Which slice, of a volume.
        names: Label to the words for it, where the label is not what people say.
    """
    height, width = size
    found: dict[tuple[str, str, tuple[float, float, float, float]], Region] = {}
    for region in case.regions:
        box = _plane_box(region, index) if region.image == image else None
        if box is not None and region.label and region.granularity != "field":
            share = box.scaled(1 / width, 1 / height).clipped(1, 1)
            # One thing may be given as a mask and as its box.
            edges = (round(share.x0, 5), round(share.y0, 5), round(share.x1, 5), round(share.y1, 5))
            found[region.label, side_of(region), edges] = region
    said = Counter(w for (label, side, _), r in found.items() for w in set(_wordings(r, label, side, names)))
    targets = []
    for (label, side, edges), region in found.items():
        words = tuple(w for w in dict.fromkeys(_wordings(region, label, side, names)) if said[w] == 1)
        if words and min(edges[2] - edges[0], edges[3] - edges[1]) >= SMALLEST:
            targets.append(Target(words, edges, label, side))
    return tuple(targets), frozenset((label, side) for label, side, _ in found)


def cropped(
    scene: Scene, rng: np.random.Generator, smallest: float = 0.6, kept: float = 0.85, tries: int = 10
) -> Scene:
    """A part of a scene's picture that keeps what is in it; never mirrored, the phrases say left and right.

    Args:
        scene: The scene.
        rng: For the draws.
        smallest: Least share of the width and of the height.
        kept: Least share of each box's area that must stay inside.
        tries: Draws before the scene is given back whole.
    """
    height, width = scene.picture.shape[:2]
    boxes = np.asarray([t.box for t in scene.targets], np.float64).reshape(-1, 4)
    for _ in range(tries):
        share = rng.uniform(smallest, 1, 2)
        low = rng.uniform(0, 1 - share)
        inside = np.concatenate([np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], low + share)], 1)
        left = np.clip(inside[:, 2:] - inside[:, :2], 0, None).prod(1)
        if (left < kept * (boxes[:, 2:] - boxes[:, :2]).prod(1)).any():
            continue
        x0, y0 = (int(v) for v in low * (width, height))
        x1, y1 = (int(np.ceil(v)) for v in (low + share) * (width, height))
        scale, start = np.asarray([x1 - x0, y1 - y0]) / (width, height), np.asarray([x0 / width, y0 / height])
        moved = np.clip((inside.reshape(-1, 2, 2) - start) / scale, 0, 1).reshape(-1, 4)
        targets = tuple(
            dataclasses.replace(t, box=(float(b[0]), float(b[1]), float(b[2]), float(b[3])))
            for t, b in zip(scene.targets, moved, strict=True)
        )
        return dataclasses.replace(scene, picture=scene.picture[y0:y1, x0:x1], targets=targets)
    return scene


def side_of(region: Region) -> str:
    """`left`, `right`, or "" where a region has no side or both."""
    side = str(region.attributes.get("side", ""))
    if not side and (match := _SIDE_WORDS.search(region.label)):
        side = match[0].lower()
    return side if side in _SIDES else ""


def _wordings(region: Region, label: str, side: str, names: Mapping[str, Sequence[str]] | None) -> list[str]:
    """Phrases for a region, the fullest first; which of them are unique in the picture is for the caller to see."""
    words = [region.phrase] if region.phrase else []
    called = list((names or {}).get(label, (label,)))
    if side and not _SIDE_WORDS.search(label):
        words += [w for c in called for w in (f"{side} {c}", f"{c} on the {side}")]
    return words + called


def _plane_box(region: Region, index: int | None) -> Box | None:
    """The region's box in the picture, or in one slice; None where it has none there."""
    shape = region.geometry
    if isinstance(shape, Mask):
        array = shape.to_array()
        plane = array if index is None else array[index]
        rows, columns = np.flatnonzero(plane.any(1)), np.flatnonzero(plane.any(0))
        if not len(rows):
            return None
        return Box(float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
    if not isinstance(shape, Box) or shape.area <= 0:
        return None
    # A three-dimensional box says nothing of its slices' extent, so it stands for each of them.
    inside = index is None or shape.z0 is None or shape.z1 is None or shape.z0 <= index < shape.z1
    return shape if inside else None


@dataclass(frozen=True, eq=False)
class Answers:
    """What a net says to pairs of picture and phrase.

    Args:
        boxes: `(n, 4)` corners as shares of the picture.
        there: `(n,)` probability that the phrase is true.
        found: `(n,)` whether the true region is the best of six, where a truth was given.
    """

    boxes: Floats
    there: Floats
    found: npt.NDArray[np.bool_]


class GroundingData:
    """Scenes with the frozen towers' answers, computed once, and batches drawn from them.

    Args:
        base: The frozen towers.
        scenes: Scenes.
        weights: Chance of each scene to be drawn, up to a factor; None for equal ones.
        also: Gives another wording of each phrase that will be asked about too, but not trained on.

    Raises:
        BadInputError: No scene has a box that a phrase names.
    """

    def __init__(
        self, base: Nano, scenes: Sequence[Scene], weights: Floats | None = None, *,
        also: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        self.scenes = list(scenes)
        self.usable = np.asarray([i for i, s in enumerate(self.scenes) if s.targets or s.named], np.int64)
        if not any(s.targets for s in self.scenes):
            raise BadInputError(
                "nothing to ground", item=f"{len(self.scenes)} pictures", why="no box has a phrase of its own",
                fix="give cases whose regions have a phrase or a label",
            )  # fmt: skip
        share = np.ones(len(self.scenes)) if weights is None else np.asarray(weights, np.float64)
        self.share = share[self.usable] / share[self.usable].sum()
        self.fine, self.coarse = maps_of(base, [s.picture for s in self.scenes])
        # Organs are in every picture: each name is drawn about as often as any other.
        count = Counter((s.family, t.name) for s in self.scenes for t in s.targets)
        each = [np.asarray([1 / count[s.family, t.name] for t in s.targets]) for s in self.scenes]
        self.rarity = [w / w.sum() if len(w) else w for w in each]
        owners: dict[str, tuple[str, str, str]] = {}
        for scene in self.scenes:
            for target in scene.targets:
                owners.update((w, (target.name, target.side, scene.family)) for w in target.words)
        named = [w for s in self.scenes for w in s.named]
        self.phrases = list(dict.fromkeys([*owners, *map(also, owners), *named]))
        self.number = {w: i for i, w in enumerate(self.phrases)}
        self.words, self.real = words_of(base, self.phrases)
        own: dict[str, set[str]] = defaultdict(set)
        kin: dict[str, set[str]] = defaultdict(set)
        for scene in self.scenes:
            own[scene.group] |= {name for name, _ in scene.shown}
            kin[scene.family] |= {name for name, _ in scene.shown}
        said = list(owners.values())
        self.absent = [absent_phrases(s, said, own[s.group], kin[s.family]) for s in self.scenes]

    def draw(self, batch: int, rng: np.random.Generator) -> Batch:
        """Pictures, each with a phrase that is true of it or, for a share of them, one that is not."""
        chosen = rng.choice(self.usable, batch, p=self.share)
        phrases, boxes = np.zeros(batch, np.int64), np.zeros((batch, 4), np.float32)
        there, boxed = np.ones(batch, bool), np.zeros(batch, bool)
        for row, i in enumerate(chosen):
            scene = self.scenes[i]
            if rng.random() >= PRESENT and len(self.absent[i]):
                phrases[row], there[row] = rng.choice(self.absent[i]), False
            elif scene.named and (not scene.targets or rng.random() < NAMED):
                phrases[row] = self.number[scene.named[rng.integers(len(scene.named))]]
            else:
                target = scene.targets[rng.choice(len(self.rarity[i]), p=self.rarity[i])]
                phrases[row], boxes[row] = self.number[target.words[rng.integers(len(target.words))]], target.box
                boxed[row] = True
        return Batch(chosen, phrases, boxes, there, boxed)

    def run(self, net: GroundNet, pictures: npt.NDArray[np.int64], phrases: npt.NDArray[np.int64]) -> Grounded:
        """The net on pairs of a picture's and a phrase's number."""
        device = net.readout.device
        real = self.real[phrases]
        words = self.words[phrases][:, : int(real.sum(1).max())].to(device)
        fine, coarse = self.fine[pictures].to(device).float(), self.coarse[pictures].to(device).float()
        out: Grounded = net(fine, coarse, words, real[:, : words.shape[1]].to(device))
        return out

    @torch.inference_mode()
    def answers(
        self, net: GroundNet, pictures: Sequence[int], said: Sequence[str], truth: Floats | None = None, seed: int = 0
    ) -> Answers:
        """A net's answers to pairs of a picture's number and a phrase, with six regions where the truth is given."""
        net.eval()
        phrases = np.asarray([self.number[w] for w in said], np.int64)
        at, rng = np.asarray(pictures, np.int64), np.random.default_rng((seed, 7))
        boxes, there, found = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)], [np.zeros(0, bool)]
        for start in range(0, len(at), 64):
            part = slice(start, start + 64)
            out = self.run(net, at[part], phrases[part])
            boxes.append(corners(out.box).clamp(0, 1).cpu().numpy())
            there.append(out.there.sigmoid().cpu().numpy())
            if truth is not None:
                found.append((six_regions(net, out, truth[part], rng).argmax(1) == 0).cpu().numpy())
        return Answers(*(np.concatenate(x) for x in (boxes, there, found)))


@dataclass(frozen=True, eq=False)
class Batch:
    """Numbers of pictures and phrases, true boxes (0 where none), whether the phrase is true, whether it has a box."""

    pictures: npt.NDArray[np.int64]
    phrases: npt.NDArray[np.int64]
    boxes: Floats
    there: npt.NDArray[np.bool_]
    boxed: npt.NDArray[np.bool_]


def absent_phrases(
    scene: Scene, phrases: Sequence[tuple[str, str, str]], own: Set[str], kin: Set[str]
) -> npt.NDArray[np.int64]:
    """Numbers of the phrases that are known not to be true of a scene.

    Args:
        scene: The scene.
        phrases: (name, side, family) of each phrase.
        own: Names that the annotation of the scene's group uses.
        kin: Names that occur in its family.
    """
    there: dict[str, set[str]] = defaultdict(set)
    for name, side in scene.shown:
        there[name].add(side)
    out = []
    for i, (name, side, _) in enumerate(phrases):
        if scene.closed and name in own:
            sides = there.get(name, set())
            wrong = not sides or bool(side and "" not in sides and side not in sides)
        else:
            wrong = name not in kin  # of its own kind of picture nobody knows what else it shows
        if wrong:
            out.append(i)
    return np.asarray(out, np.int64)


def grounding_step(
    net: GroundNet, data: GroundingData, *, steps: int, batch: int = 16, contrast: float = WEIGHT
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: L1, GIoU, presence, and TaCo with its ramp.

    Args:
        net: What is trained.
        data: What it is trained on.
        steps: Steps in all, for the ramp.
        batch: Pairs in a step.
        contrast: Weight that TaCo's ramp ends at; 0 leaves it out (the ablation).
    """

    def step(number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        drawn = data.draw(batch, rng)
        out = data.run(net, drawn.pictures, drawn.phrases)
        there = torch.from_numpy(drawn.there).to(out.box.device)
        # Absent phrases count as much as present ones, whatever their share of the batch: 0.5 is then undecided.
        balance = torch.where(there, 0.5 / PRESENT, 0.5 / (1 - PRESENT))
        boxed = torch.from_numpy(drawn.boxed).to(out.box.device)
        truth = torch.from_numpy(drawn.boxes).to(out.box.device)[boxed]
        losses = box_losses(out.box[boxed], centres(truth))
        losses["there"] = F.binary_cross_entropy_with_logits(out.there, there.float(), balance)
        if contrast:
            logits = six_regions(net, out, drawn.boxes, rng)[boxed]
            losses["taco"] = ramp(number / steps, contrast) * taco(logits)
        return losses

    return step


def six_regions(net: GroundNet, out: Grounded, truth: Floats, rng: np.random.Generator) -> Tensor:
    """`(n, 6)` logits of the true region and five false ones."""
    regions = np.concatenate([truth[:, None], negative_boxes(truth, rng)], 1)
    cells = region_cells(torch.from_numpy(regions).to(out.hidden.device), net.grid)
    return region_logits(out.hidden, out.attention, cells, out.cells.start)


def box_ious(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    """IoU of `(n, 4)` corners with those of the same row, `(n,)`."""
    out: npt.NDArray[np.float64] = overlap(torch.from_numpy(a), torch.from_numpy(b))[0].double().numpy()
    return out
