"""What the head's boxes are worth: overlap against a box that does not look, average precision, and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vesalius.metrics.detection.average_precision import ImageBoxes, evaluate_detection
from vesalius.metrics.detection.boxes import iou_matrix
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.models.nano import ground as nano_ground
from vesalius.models.nano.detect import instances
from vesalius.models.nano.model import Nano
from vesalius.models.preprocess import U8
from vesalius.nn.dense_boxes import DenseBoxes
from vesalius.training.nano.marked import WORDINGS, Scene, Scenes, absent_from

Floats = npt.NDArray[np.float32]
#: Thresholds that are tried on validation cases.
THRESHOLDS = tuple(float(t) for t in np.arange(0.1, 0.75, 0.05).round(2))
#: A name with fewer validation pictures than this draws a box only where its box is far better than the mean box.
FEWEST = 8
#: Pictures at most, of those that surely do not show a name, on which instances are looked for all the same.
ABSENT = 20
#: A picture and a name to the one box that another head gives, in shares of the picture.
OneBox = Callable[[U8, str], Floats]


@dataclass(frozen=True, eq=False)
class Blind:
    """What is known of each name without looking, from the training pictures that show it.

    Args:
        box: Mean box in shares of the picture.
        count: Median number of instances, the constant with the least absolute error.
    """

    box: Mapping[str, Floats]
    count: Mapping[str, float]

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> Blind:
        """From training scenes."""
        names = sorted({n for s in scenes for n in s.boxes})
        boxes = {n: [s.boxes[n] for s in scenes if len(s.boxes.get(n, ()))] for n in names}
        return cls(
            {n: np.concatenate(b).mean(0) for n, b in boxes.items()},
            {n: float(np.median([len(x) for x in b])) for n, b in boxes.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"box": {n: [round(float(v), 5) for v in b] for n, b in self.box.items()}, "count": dict(self.count)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Blind:
        """From what `to_dict` gave."""
        return cls({n: np.asarray(b, np.float32) for n, b in data["box"].items()}, dict(data["count"]))


def one_box_of(base: Nano) -> OneBox | None:
    """The head that gives one box a phrase, where the folder has it."""
    path = base.folder / nano_ground.FILE
    if not path.is_file():
        return None
    head = nano_ground.GroundHead.load(path, base)

    def answer(picture: U8, name: str) -> Floats:
        words = WORDINGS.get(name, (name.replace("_", " "),))[0]
        (found,) = nano_ground.ground_picture(head.tower or base, head.net, picture, [words])
        box, (height, width) = found.boxes[0], picture.shape[:2]
        return np.asarray([[box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height]], np.float32)

    return answer


@torch.inference_mode()
def found_in(
    net: DenseBoxes, data: Scenes, index: int, names: Sequence[str]
) -> dict[str, tuple[Floats, Floats, float]]:
    """For each name: `(k, 4)` boxes in shares, `(k,)` scores, and the probability that it is there."""
    fused = net.fuse(data.maps_of(np.asarray([index])))
    out = {}
    for name in names:
        found = net(fused, data.vectors[data.rows[name][:1]])
        boxes, scores = instances(found.centre[0].double().sigmoid(), found.boxes[0].double(), 0.02)
        side = boxes.new_tensor([fused.shape[3], fused.shape[2]] * 2)
        shares = (boxes / side).clamp(0, 1).float().cpu().numpy()
        out[name] = shares, scores.float().cpu().numpy(), float(found.there[0].sigmoid())
    return out


def answers(net: DenseBoxes, data: Scenes, name: str) -> list[tuple[Floats, Floats, Floats, str]]:
    """Of each picture that shows a name: true boxes, found boxes, their scores, and the patient."""
    out = []
    for i, scene in enumerate(data.scenes):
        if len(scene.boxes.get(name, ())):
            boxes, scores, _ = found_in(net, data, i, [name])[name]
            out.append((scene.boxes[name], boxes, scores, scene.group))
    return out


def choose(net: DenseBoxes, data: Scenes, blind: Blind) -> dict[str, dict[str, Any]]:
    """For each name, the threshold from which an instance counts and whether its boxes may be drawn.

    Args:
        net: The trained net.
        data: Validation scenes.
        blind: What is known without looking.
    """
    out: dict[str, dict[str, Any]] = {}
    for name in data.names:
        found = answers(net, data, name)
        if not found:
            out[name] = {"boxes": False, "threshold": 0.3, "validation": 0}
            continue
        errors = [float(np.mean([abs((s >= t).sum() - len(b)) for b, _, s, _ in found])) for t in THRESHOLDS]
        threshold = THRESHOLDS[int(np.argmin(errors))]
        row = _figures(name, found, blind, threshold, 200)
        margin = 0.0 if len(found) >= FEWEST else 0.15
        out[name] = {
            "boxes": row["iou"][0] > row["mean_box"] + margin, "threshold": threshold, "validation": len(found),
        }  # fmt: skip
    return out


def figures_of(
    net: DenseBoxes, data: Scenes, blind: Blind, names: Mapping[str, Mapping[str, Any]], one_box: OneBox | None = None
) -> dict[str, Any]:
    """Figures of each name that the scenes show.

    Args:
        net: The trained net.
        data: The scenes.
        blind: What is known without looking.
        names: What `choose` gave.
        one_box: A head to compare with.
    """
    out, absent = {}, absent_from(data.scenes, data.names)
    for name in data.names:
        found = answers(net, data, name)
        if not found:
            continue
        threshold = float(names[name]["threshold"])
        out[name] = _figures(name, found, blind, threshold, 1000)
        if one_box is not None:
            shown = [s for s in data.scenes if len(s.boxes.get(name, ()))]
            got = [float(iou_matrix(one_box(s.picture, name), s.boxes[name]).max()) for s in shown]
            out[name]["one_box"] = _mean(got, [s.group for s in shown], 1000)
        without = [i for i, missing in enumerate(absent) if name in missing]
        without = without[:: max(1, -(-len(without) // ABSENT))]
        called = [bool((found_in(net, data, i, [name])[name][1] >= threshold).any()) for i in without]
        out[name]["absent"] = {"n": len(called), "called": sum(called)}
    return out


def _figures(
    name: str, found: Sequence[tuple[Floats, Floats, Floats, str]], blind: Blind, threshold: float, resamples: int
) -> dict[str, Any]:
    groups = [g for *_, g in found]
    best = [float(iou_matrix(b[:1], t).max()) if len(b) else 0.0 for t, b, _, _ in found]
    guess = [float(iou_matrix(blind.box[name][None], t).max()) for t, *_ in found]
    counted = [abs(int((s >= threshold).sum()) - len(t)) for t, _, s, _ in found]
    constant = [abs(blind.count[name] - len(t)) for t, *_ in found]
    size = 1000.0  # the metric's size classes are in pixels
    report = evaluate_detection(
        [ImageBoxes(b * size, [name] * len(b), s) for _, b, s, _ in found],
        [ImageBoxes(t * size, [name] * len(t)) for t, *_ in found],
        ious=(0.5,), max_detections=300,
    )  # fmt: skip
    return {
        "n": len(found), "patients": len(set(groups)), "instances": sum(len(t) for t, *_ in found),
        "iou": _mean(best, groups, resamples), "mean_box": round(float(np.mean(guess)), 4),
        "ap50": round(report.map, 4),
        "count_error": _mean(counted, groups, resamples), "constant_error": round(float(np.mean(constant)), 4),
    }  # fmt: skip


def _mean(values: Sequence[float], groups: Sequence[str], resamples: int) -> list[float]:
    made = bootstrap_mean(values, groups=groups, resamples=resamples)
    return [round(float(v), 4) for v in (made.value, made.low, made.high)]
