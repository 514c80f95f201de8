"""Instances (cells, lesions, teeth) as label maps: panoptic quality and the aggregated Jaccard index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError
from vesalius.metrics.registry import metric

__all__ = ["PanopticScores", "aji", "instance_iou", "panoptic", "panoptic_quality"]

Floats = NDArray[np.float64]


def _pairs(predicted: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Sizes of all overlaps `(predicted, true)` and of the instances of each side, background left out."""
    found, true = np.asarray(predicted), np.asarray(truth)
    for name, array in (("predicted", found), ("truth", true)):
        if array.dtype.kind not in "iub":
            raise BadInputError(f"cannot use {name}", why=f"a label map holds integers, not {array.dtype}")
    if found.shape != true.shape:
        raise BadInputError("label maps differ in shape", why=f"predicted {found.shape}, truth {true.shape}")
    if found.size == 0:
        raise BadInputError("nothing to measure", why=f"the label maps have shape {found.shape}")
    names_a, a = np.unique(found, return_inverse=True)
    names_b, b = np.unique(true, return_inverse=True)
    table = np.bincount(a.ravel() * len(names_b) + b.ravel(), minlength=len(names_a) * len(names_b))
    table = table.reshape(len(names_a), len(names_b))
    keep_a, keep_b = names_a != 0, names_b != 0
    sizes_a = table.sum(axis=1)[keep_a].astype(np.float64)
    sizes_b = table.sum(axis=0)[keep_b].astype(np.float64)
    return table[np.ix_(keep_a, keep_b)].astype(np.int64), sizes_a, sizes_b


def instance_iou(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """IoU of each predicted with each true instance.

    Args:
        predicted: Label map of integers, 0 for background; numbers may have gaps.
        truth: Label map of the same shape.

    Returns:
        Shape `(predicted instances, true instances)`, in the order of their numbers.

    Raises:
        BadInputError: Shapes differ, or the maps do not hold integers.
    """
    shared, a, b = _pairs(predicted, truth)
    return np.asarray(shared / (a[:, None] + b[None, :] - shared))


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality and its parts.

    Attributes:
        pq: `sq * rq`.
        sq: Mean IoU of the matched instances; 0 without any.
        rq: F1 of detection: TP / (TP + FP/2 + FN/2).
        tp: Matched instances.
        fp: Predicted instances without a match.
        fn: True instances without a match.
    """

    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int


def panoptic(predicted: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> PanopticScores:
    """Panoptic quality of one class of instances (Kirillov et al., CVPR 2019).

    Args:
        predicted: Label map of integers, 0 for background.
        truth: Label map of the same shape.
        threshold: A pair matches when its IoU is above this; at least 0.5, which makes the matching unique.

    Returns:
        The scores; two maps without instances score 1.

    Raises:
        BadInputError: Unusable maps, or a threshold outside [0.5, 1).
    """
    if not 0.5 <= threshold < 1:
        raise BadInputError(
            "cannot use threshold", why=f"{threshold} is not in [0.5, 1): below, matches are not unique"
        )
    overlap = instance_iou(predicted, truth)
    hit = overlap > threshold
    tp = int(hit.sum())
    fp, fn = overlap.shape[0] - tp, overlap.shape[1] - tp
    if tp + fp + fn == 0:
        return PanopticScores(1.0, 1.0, 1.0, 0, 0, 0)
    sq = float(overlap[hit].mean()) if tp else 0.0
    rq = tp / (tp + fp / 2 + fn / 2)
    return PanopticScores(sq * rq, sq, rq, tp, fp, fn)


@metric(
    "panoptic_quality",
    definition="Sum of the IoU of matched instances (IoU > 0.5) / (TP + FP/2 + FN/2), one class.",
    source="Kirillov et al., CVPR 2019",
    edge_cases="No instance on either side gives 1; shapes that differ and maps that do not hold integers are errors.",
)
def panoptic_quality(predicted: ArrayLike, truth: ArrayLike, threshold: float = 0.5) -> float:
    """Panoptic quality of one class; see `panoptic`."""
    return panoptic(predicted, truth, threshold).pq


@metric(
    "aji",
    definition="Aggregated Jaccard index: each true instance takes the predicted one of largest IoU; sum of "
    "their intersections "
    "over the sum of their unions plus the areas of all true and predicted instances left over.",
    source="Kumar et al., IEEE TMI 2017; a predicted instance may be taken more than once, as there",
    edge_cases="No instance on either side gives 1; shapes that differ and maps that do not hold integers are errors.",
)
def aji(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Aggregated Jaccard index; arguments as `panoptic`."""
    shared, a, b = _pairs(predicted, truth)
    if not len(a) and not len(b):
        return 1.0
    if not len(a) or not len(b):
        return 0.0
    unions = a[:, None] + b[None, :] - shared
    overlap = shared / unions
    best = overlap.argmax(axis=0)
    met = overlap.max(axis=0) > 0
    columns = np.flatnonzero(met)
    inter = float(shared[best[columns], columns].sum())
    union = float(unions[best[columns], columns].sum()) + float(b[~met].sum())
    spare = np.ones(len(a), dtype=bool)
    spare[best[columns]] = False
    return inter / (union + float(a[spare].sum()))
