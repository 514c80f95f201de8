"""Detection: average precision as COCO and PASCAL VOC define it, each variant by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.detection.boxes import as_boxes
from vesalius.metrics.registry import metric

__all__ = [
    "COCO_IOUS",
    "DetectionReport",
    "ImageBoxes",
    "Interpolation",
    "average_precision",
    "detection_map",
    "evaluate_detection",
]

Floats = NDArray[np.float64]
Interpolation = Literal["coco", "voc2007", "voc2010"]
COCO_IOUS = tuple(float(v) for v in np.round(np.linspace(0.5, 0.95, 10), 2))
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image.

    Attributes:
        boxes: `[x0, y0, x1, y1)`, shape `(n, 4)`.
        labels: A label for each box; one and the same by default.
        scores: Confidence of each predicted box; 1 by default (as for models that give none: their order then counts).
        crowd: For true boxes, regions in which predictions count neither way (COCO `iscrowd`).
    """

    boxes: ArrayLike
    labels: Sequence[Any] | None = None
    scores: ArrayLike | None = None
    crowd: ArrayLike | None = None
    _ready: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes)
        n = len(boxes)
        labels = np.zeros(n, dtype=int) if self.labels is None else np.asarray(self.labels)
        scores = np.ones(n) if self.scores is None else finite(self.scores, "scores")
        crowd = np.zeros(n, dtype=bool) if self.crowd is None else np.asarray(self.crowd, dtype=bool)
        for name, array in (("labels", labels), ("scores", scores), ("crowd", crowd)):
            if len(array) != n:
                raise BadInputError("inputs differ in length", why=f"{len(array)} {name} for {n} boxes")
        self._ready.update(boxes=boxes, labels=labels, scores=scores, crowd=crowd)

    def of(self, label: Any) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Boxes, scores and crowd flags of one label."""
        rows = np.flatnonzero(self._ready["labels"] == label)
        return self._ready["boxes"][rows], self._ready["scores"][rows], self._ready["crowd"][rows]

    @property
    def names(self) -> list[Any]:
        """Labels that occur."""
        return list(np.unique(self._ready["labels"]).tolist())


@dataclass(frozen=True)
class DetectionReport:
    """Average precision over classes and IoU thresholds.

    Attributes:
        map: Mean average precision.
        ap: Class to its average precision (mean over the thresholds); classes without a true box are absent.
        map_at: IoU threshold to mean average precision.
        recall: Mean over classes and thresholds of the largest recall reached.
        images: Images.
        truths: True boxes that count.
        variant: The definition in words.
    """

    map: float
    ap: dict[Any, float]
    map_at: dict[float, float]
    recall: float
    images: int
    truths: int
    variant: str


def average_precision(hit: ArrayLike, score: ArrayLike, positives: int, interpolation: Interpolation = "coco") -> float:
    """Average precision of scored detections already judged right or wrong.

    Args:
        hit: Whether each detection is a true positive, shape `(n,)`.
        score: Its confidence; equal ones keep their order.
        positives: Number of true objects.
        interpolation: `coco`: mean over 101 recall levels of the precision envelope; `voc2007`: over 11 levels;
            `voc2010`: area under the envelope.

    Returns:
        Average precision in [0, 1].

    Raises:
        BadInputError: No true object, or wrong arrays.
        UsageError: Unknown interpolation.
    """
    judged, scores = np.asarray(hit, dtype=bool), finite(score, "score")
    if len(judged) != len(scores):
        raise BadInputError("inputs differ in length", why=f"{len(judged)} hits for {len(scores)} scores")
    if positives < 1:
        raise BadInputError("average precision is undefined", why="there is no true object")
    order = np.argsort(-scores, kind="stable")
    tp = np.cumsum(judged[order])
    recall = tp / positives
    precision = tp / np.arange(1, len(tp) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if interpolation == "voc2010":
        return float(np.dot(np.diff(recall, prepend=0.0), envelope))
    if interpolation not in ("coco", "voc2007"):
        raise UsageError("unknown interpolation", item=str(interpolation), fix="use coco, voc2007 or voc2010")
    levels = np.linspace(0.0, 1.0, 101 if interpolation == "coco" else 11)
    places = np.searchsorted(recall, levels, side="left")
    reached = places < len(envelope)
    return (
        float(np.where(reached, envelope[np.minimum(places, max(len(envelope) - 1, 0))], 0.0).mean())
        if len(tp)
        else 0.0
    )


def _overlaps(found: Floats, true: Floats, crowd: NDArray[np.bool_]) -> Floats:
    low = np.maximum(found[:, None, :2], true[None, :, :2])
    high = np.minimum(found[:, None, 2:], true[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=2)
    mine = np.prod(found[:, 2:] - found[:, :2], axis=1)[:, None]
    union = np.where(crowd[None, :], mine, mine + np.prod(true[:, 2:] - true[:, :2], axis=1)[None, :] - shared)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _match_coco(
    overlap: Floats, ignored: NDArray[np.bool_], crowd: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """COCO matching of detections (rows, best first) to true boxes (columns, ignored ones last).

    Each detection takes the free true box of largest IoU at or above the threshold; a box that counts is preferred to
    an ignored one whatever the IoU; crowd boxes can be taken many times.
    """
    taken = np.zeros(len(ignored), dtype=bool)
    hit, skip = np.zeros(len(overlap), dtype=bool), np.zeros(len(overlap), dtype=bool)
    for row, values in enumerate(overlap):
        best, chosen = min(threshold, 1 - 1e-10), -1
        for column, value in enumerate(values):
            if taken[column] and not crowd[column]:
                continue
            if chosen >= 0 and not ignored[chosen] and ignored[column]:
                break
            if value < best:
                continue
            best, chosen = float(value), column
        if chosen >= 0:
            taken[chosen] = True
            hit[row], skip[row] = not ignored[chosen], ignored[chosen]
    return hit, skip


def _match_voc(
    overlap: Floats, ignored: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """VOC matching: a detection answers only for the true box of largest IoU; a second one on it is false."""
    taken = np.zeros(len(ignored), dtype=bool)
    hit, skip = np.zeros(len(overlap), dtype=bool), np.zeros(len(overlap), dtype=bool)
    for row, values in enumerate(overlap):
        if not len(values):
            continue
        column = int(np.argmax(values))
        if values[column] < threshold:
            continue
        if ignored[column]:
            skip[row] = True
        elif not taken[column]:
            taken[column] = hit[row] = True
    return hit, skip


def evaluate_detection(
    predicted: Sequence[ImageBoxes],
    truth: Sequence[ImageBoxes],
    *,
    ious: Sequence[float] = COCO_IOUS,
    interpolation: Interpolation = "coco",
    max_detections: int | None = 100,
    area: Literal["all", "small", "medium", "large"] = "all",
    asked_only: bool = False,
) -> DetectionReport:
    """Mean average precision.

    With `coco` interpolation detections are matched as COCO does (best free true box at or above the threshold); with
    the two VOC ones as VOC does (only the box of largest IoU counts).

    Args:
        predicted: Predicted boxes of each image.
        truth: True boxes of each image, in the same order.
        ious: IoU thresholds; COCO's 0.50 to 0.95 by default.
        interpolation: See `average_precision`.
        max_detections: Highest-scored detections kept for each image and class.
        area: Size class of true boxes (pixel areas below 32^2, to 96^2, above); others are ignored.
        asked_only: Drop predictions of a class in images where that class is absent, as when a model is asked only for
            what is there ("grounding given presence"). It hides false alarms: never compare it with plain mAP.

    Returns:
        The report.

    Raises:
        BadInputError: Unequal numbers of images, thresholds outside (0, 1], or no true box.
    """
    if len(predicted) != len(truth) or not truth:
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(truth)} images")
    if not ious or min(ious) <= 0 or max(ious) > 1:
        raise BadInputError("cannot use IoU thresholds", why=f"{list(ious)} are not all in (0, 1]")
    low, high = AREAS[area]
    names = sorted({name for image in truth for name in image.names}, key=str)
    table: dict[Any, Floats] = {}
    recalls: list[Floats] = []
    counted = 0
    for name in names:
        hits: list[list[NDArray[np.bool_]]] = [[] for _ in ious]
        skips: list[list[NDArray[np.bool_]]] = [[] for _ in ious]
        scores: list[Floats] = []
        positives = 0
        for guess, known in zip(predicted, truth, strict=True):
            true, _, crowd = known.of(name)
            found, score, _ = guess.of(name)
            if asked_only and not len(true):
                continue
            order = np.argsort(-score, kind="stable")[:max_detections]
            found, score = found[order], score[order]
            size = np.prod(true[:, 2:] - true[:, :2], axis=1)
            ignored = crowd | (size < low) | (size > high)
            last = np.argsort(ignored, kind="stable")
            true, crowd, ignored = true[last], crowd[last], ignored[last]
            positives += int((~ignored).sum())
            overlap = _overlaps(found, true, crowd)
            mine = np.prod(found[:, 2:] - found[:, :2], axis=1)
            outside = (mine < low) | (mine > high)
            for place, threshold in enumerate(ious):
                if interpolation == "coco":
                    hit, skip = _match_coco(overlap, ignored, crowd, threshold)
                else:
                    hit, skip = _match_voc(overlap, ignored, threshold)
                hits[place].append(hit)
                skips[place].append(skip | (~hit & outside))
            scores.append(score)
        if not positives:
            continue
        counted += positives
        score = np.concatenate(scores)
        values, reached = [], []
        for place in range(len(ious)):
            hit, keep = np.concatenate(hits[place]), ~np.concatenate(skips[place])
            values.append(average_precision(hit[keep], score[keep], positives, interpolation))
            reached.append(float(hit.sum() / positives))
        table[name] = np.array(values)
        recalls.append(np.array(reached))
    if not table:
        raise BadInputError("average precision is undefined", why=f"there is no true box of size {area}")
    matrix = np.stack(list(table.values()))
    variant = (
        f"{interpolation}, IoU {', '.join(f'{v:g}' for v in ious)}, at most {max_detections} detections an "
        f"image and class, "
        f"{area} sizes{', only classes present in the image are asked for' if asked_only else ''}"
    )
    return DetectionReport(
        map=float(matrix.mean()),
        ap={name: float(row.mean()) for name, row in table.items()},
        map_at={float(t): float(v) for t, v in zip(ious, matrix.mean(axis=0), strict=True)},
        recall=float(np.stack(recalls).mean()),
        images=len(truth),
        truths=counted,
        variant=variant,
    )


_VARIANTS: dict[str, dict[str, Any]] = {
    "coco": {},
    "coco50": {"ious": (0.5,)},
    "coco75": {"ious": (0.75,)},
    "voc2007": {"ious": (0.5,), "interpolation": "voc2007", "max_detections": None},
    "voc2010": {"ious": (0.5,), "interpolation": "voc2010", "max_detections": None},
    "presence50": {"ious": (0.5,), "asked_only": True},
    "presence": {"asked_only": True},
}


@metric(
    "detection_map",
    definition="Mean over classes (and IoU thresholds) of average precision. Variants: coco (IoU "
    ".50:.05:.95, 101 recall "
    "levels, 100 detections), coco50, coco75, voc2007 (11 levels, IoU .5), voc2010 (area under the envelope, IoU .5), "
    "presence and presence50 (as coco, but a class is asked for only in images that hold it).",
    source="Lin et al., ECCV 2014; Everingham et al., IJCV 2010; presence: as grounding papers evaluate phrases",
    edge_cases="Classes without a true box are left out of the mean; no true box at all is an error; images without "
    "boxes count through their false alarms; equal scores keep their order.",
)
def detection_map(predicted: Sequence[ImageBoxes], truth: Sequence[ImageBoxes], variant: str = "coco") -> float:
    """Mean average precision of a named variant; see `evaluate_detection`.

    Raises:
        UsageError: Unknown variant.
        BadInputError: As `evaluate_detection`.
    """
    if variant not in _VARIANTS:
        raise UsageError("unknown variant of average precision", item=variant, fix=f"use {', '.join(_VARIANTS)}")
    return evaluate_detection(predicted, truth, **_VARIANTS[variant]).map
