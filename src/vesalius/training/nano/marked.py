"""Every instance that the open sets mark, by boxes, masks or points, and what is surely absent from a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesalius.cases import Box, Case, Mask, Point
from vesalius.metrics.detection.boxes import iou_matrix
from vesalius.models.nano.detect import detail_maps
from vesalius.models.nano.model import Nano
from vesalius.models.preprocess import U8, display_view

Floats = npt.NDArray[np.float32]
#: Sets with boxes, masks or points, and the share of a batch that each has.
SETS: Mapping[str, float] = {
    "cbc": 0.26, "chula-rbc12": 0.12, "brca-m2c": 0.08, "hc18-fetal-head": 0.10, "kvasir-seg": 0.14,
    "covid-cc-by": 0.12, "cross-sections": 0.18,
}  # fmt: skip
#: Label of a region to how people name it; figures stand under the label and are asked for by the first wording.
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "WBC": ("white blood cell", "white blood cells", "WBC", "leukocyte"),
    "RBC": ("red blood cell", "red blood cells", "RBC", "erythrocyte"),
    "Platelets": ("platelet", "platelets", "thrombocyte"),
    "left lung": ("left lung",),
    "right lung": ("right lung",),
    "lungs": ("lungs", "both lungs"),
    "polyp": ("polyp", "colon polyp"),
    "fetal head": ("fetal head", "head of the fetus"),
    "lymphocyte": ("lymphocyte", "lymphocytes"),
    "tumour_or_epithelial": ("tumour cell", "tumour cells", "epithelial cell"),
    "stroma": ("stromal cell", "stromal cells"),
}
#: Sides of the boxes that stand for points, as shares of the picture: a red cell, a nucleus.
POINT_SIDE: Mapping[str, float] = {"chula-rbc12": 0.1, "brca-m2c": 0.045}
#: Sets in which everything that they ever mark is marked wherever it is.
_EXHAUSTIVE = frozenset({"cbc", "brca-m2c"})
#: What a set never marks although its pictures may show it.
_UNMARKED: Mapping[str, tuple[str, ...]] = {
    "chula-rbc12": ("WBC", "Platelets", "lymphocyte"),
    "cbc": ("lymphocyte",),
    "brca-m2c": ("WBC", "RBC"),
    "cross-sections": ("left lung", "right lung", "lungs", "fetal head"),
}
#: Sets whose pictures show organs that nobody marked: nothing that `cross-sections` marks is surely absent from them.
_OF_ORGANS = frozenset({"covid-cc-by", "hc18-fetal-head", "kvasir-seg"})
#: Sets in which a name may say a side, so that a mirrored picture would teach the wrong one.
_SIDED = frozenset({"covid-cc-by", "cross-sections"})
#: Pieces of a mask smaller than this share of it are specks.
SPECK = 0.05


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and every instance in it.

    Args:
        id: Case.
        group: Patient.
        dataset: Set.
        picture: `(H, W, 3)`.
        boxes: Name to `(n, 4)` left, top, right, bottom in shares of the picture; names of the set that are not there
            have none.
    """

    id: str
    group: str
    dataset: str
    picture: U8
    boxes: Mapping[str, Floats]


def scene_of(case: Case) -> Scene | None:
    """The first image of a case with its instances; None where it has none."""
    image = case.images[0]
    if image.kind != "2d":
        return None
    picture = display_view(image)
    height, width = picture.shape[:2]
    size = np.asarray([width, height, width, height], np.float64)
    found: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    name = case.source.dataset
    for region in case.regions:
        label = "RBC" if name == "chula-rbc12" else region.label
        shape = region.geometry
        if isinstance(shape, Box):
            found[label].append(np.asarray([shape.x0, shape.y0, shape.x1, shape.y1]) / size)
        elif isinstance(shape, Point) and name in POINT_SIDE:
            middle, half = np.asarray([shape.x / width, shape.y / height]), POINT_SIDE[name] / 2
            found[label].append(np.concatenate([middle - half, middle + half]))
        elif isinstance(shape, Mask):
            whole = label == "lungs" or bool(region.attributes.get("mixed"))
            found[label] += [np.asarray(b) / size for b in pieces(shape.to_array(), whole=whole)]
    if name == "chula-rbc12" and not case.attributes.get("complete"):
        return None
    boxes = {k: _once(np.stack(v).astype(np.float32)) for k, v in found.items() if k and v}
    return Scene(case.id, case.group, name, picture, boxes) if boxes else None


def _once(boxes: Floats) -> Floats:
    """Without boxes that mark the same thing twice, as a set does that brings a box and a mask of it."""
    iou = iou_matrix(boxes, boxes)
    return boxes[[i for i in range(len(boxes)) if not (iou[i, :i] > 0.8).any()]]


def pieces(mask: npt.NDArray[Any], *, whole: bool) -> list[tuple[float, float, float, float]]:
    """Boxes around the connected pieces of a mask, specks left out; around all of it where it joins structures."""
    from scipy.ndimage import find_objects, label

    inside = np.asarray(mask) > 0
    if whole:
        numbered: npt.NDArray[Any] = inside.astype(np.int32)
    else:
        numbered, _ = label(inside)
    areas = np.bincount(numbered.ravel())[1:]
    out = []
    for number, at in enumerate(find_objects(numbered)):
        if at is not None and areas[number] >= SPECK * inside.sum():
            rows, columns = at
            out.append((float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)))
    return out


def cut_out(scene: Scene, rng: np.random.Generator) -> Scene:
    """A part of a scene with the instances whose middle lies in it, mirrored half of the time if sides do not count."""
    height, width = scene.picture.shape[:2]
    share = rng.uniform(0.6, 0.95, 2)
    low = rng.uniform(0, 1 - share)
    x0, y0, x1, y1 = (np.concatenate([low, low + share]) * [width, height, width, height]).astype(int)
    picture, boxes = scene.picture[y0:y1, x0:x1], {}
    frame = np.asarray([x0 / width, y0 / height] * 2, np.float32)
    size = np.asarray([(x1 - x0) / width, (y1 - y0) / height] * 2, np.float32)
    for name, old in scene.boxes.items():
        new = (old - frame) / size
        middle = (new[:, :2] + new[:, 2:]) / 2
        boxes[name] = np.clip(new[((middle > 0) & (middle < 1)).all(1)], 0, 1)
    if scene.dataset not in _SIDED and rng.random() < 0.5:
        picture = picture[:, ::-1]
        boxes = {k: np.stack([1 - b[:, 2], b[:, 1], 1 - b[:, 0], b[:, 3]], 1) for k, b in boxes.items()}
    return Scene(scene.id, scene.group, scene.dataset, np.ascontiguousarray(picture), boxes)


def absent_from(scenes: Sequence[Scene], names: Sequence[str]) -> list[list[str]]:
    """For each scene, the names that are surely not in it: what its set never marks, and what it would have marked."""
    marks: dict[str, set[str]] = defaultdict(set)
    for scene in scenes:
        marks[scene.dataset] |= {n for n, b in scene.boxes.items() if len(b)}
    organs, out = marks["cross-sections"], []
    for scene in scenes:
        own = marks[scene.dataset]
        maybe = {*own, *_UNMARKED.get(scene.dataset, ()), *(organs if scene.dataset in _OF_ORGANS else ())}
        others = [n for n in names if n not in maybe]
        missed = [n for n in own if not len(scene.boxes.get(n, ()))] if scene.dataset in _EXHAUSTIVE else []
        out.append([*others, *missed])
    return out


class Scenes:
    """Scenes with the frozen maps of their pictures, and the words of every name.

    Args:
        base: nano.
        scenes: The scenes.
        names: Names that may be asked for; those of the scenes when None.
    """

    def __init__(self, base: Nano, scenes: Sequence[Scene], names: Sequence[str] | None = None) -> None:
        self.scenes = list(scenes)
        self.device = base.device
        fine, middle, coarse = detail_maps(base, [s.picture for s in scenes])
        self.maps = fine.cpu(), middle.cpu(), coarse.cpu()
        self.names = list(names if names is not None else sorted({n for s in scenes for n in s.boxes}))
        self.wordings = [(n, w) for n in self.names for w in WORDINGS.get(n, (n.replace("_", " "),))]
        self.vectors = torch.from_numpy(base.text_tower([w for _, w in self.wordings])).to(self.device)
        self.rows = {n: [i for i, (m, _) in enumerate(self.wordings) if m == n] for n in self.names}

    def maps_of(self, index: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Single-precision maps of some scenes."""
        at = torch.from_numpy(index)
        fine, middle, coarse = (m[at].to(self.device).float() for m in self.maps)
        return fine, middle, coarse
