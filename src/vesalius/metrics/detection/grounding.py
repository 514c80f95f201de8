"""Grounding: one phrase and its box or boxes; the published scores by name, and the corrected ones beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.detection.boxes import as_boxes, iou_matrix
from vesalius.metrics.registry import metric

__all__ = [
    "RegionScores",
    "grounding_accuracy",
    "mean_best_iou",
    "mean_iou",
    "pick_box",
    "region_scores",
    "single_ious",
]

Floats = NDArray[np.float64]
Pick = Literal["first", "best"]


def pick_box(predicted: ArrayLike, truth: ArrayLike, pick: Pick = "first") -> Floats:
    """The predicted box that answers for a phrase with one true box.

    Args:
        predicted: Predicted boxes, shape `(n, 4)`.
        truth: The true box, shape `(4,)`.
        pick: `first`, the one the model put first; `best`, the one of largest IoU, chosen with the truth at hand: some
            published region scores do so when the model gives more boxes than there are.

    Returns:
        One box, all zero when there is none.

    Raises:
        BadInputError: Unusable boxes.
        UsageError: Unknown pick.
    """
    boxes = as_boxes(predicted, "predicted")
    if pick not in ("first", "best"):
        raise UsageError("unknown pick", item=str(pick), fix="use first or best")
    if not len(boxes):
        return np.zeros(4)
    row = 0 if pick == "first" else int(np.argmax(iou_matrix(boxes, np.asarray(truth)[None])[:, 0]))
    return np.asarray(boxes[row])


def single_ious(predicted: Sequence[ArrayLike], truth: ArrayLike, pick: Pick = "first") -> Floats:
    """IoU of each phrase's box with its true box.

    Args:
        predicted: Predicted boxes of each phrase (none, one or many).
        truth: One true box a phrase, shape `(n, 4)`.
        pick: See `pick_box`.

    Returns:
        Shape `(n,)`; 0 where nothing was predicted.

    Raises:
        BadInputError: Unequal numbers, or nothing to measure.
    """
    true = as_boxes(truth, "truth")
    if len(predicted) != len(true) or not len(true):
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(true)} phrases")
    return np.array(
        [iou_matrix(pick_box(p, t, pick)[None], t[None])[0, 0] for p, t in zip(predicted, true, strict=True)]
    )


@metric(
    "grounding_accuracy",
    definition="Share of phrases whose box has an IoU of at least 0.5 (or the threshold given) with the true "
    "box (Acc@IoU).",
    source="Mao et al., CVPR 2016, as in the phrase-grounding papers",
    edge_cases="No predicted box counts as IoU 0; of several the first counts, or the best when asked for.",
)
def grounding_accuracy(
    predicted: Sequence[ArrayLike], truth: ArrayLike, threshold: float = 0.5, pick: Pick = "first"
) -> float:
    """Accuracy at an IoU threshold; arguments as `single_ious`."""
    return float(np.mean(single_ious(predicted, truth, pick) >= threshold))


@metric(
    "mean_iou",
    definition="Mean over phrases of the IoU of the predicted with the true box.",
    source="as in the phrase-grounding papers",
    edge_cases="No predicted box counts as IoU 0; of several the first counts, or the best when asked for.",
)
def mean_iou(predicted: Sequence[ArrayLike], truth: ArrayLike, pick: Pick = "first") -> float:
    """Mean IoU over phrases; arguments as `single_ious`."""
    return float(np.mean(single_ious(predicted, truth, pick)))


@metric(
    "mean_best_iou",
    definition="Mean over predicted boxes of the largest IoU with any true box of the image. It does not see "
    "missed boxes and "
    "rewards duplicates: read it beside region_f1.",
    source="as published for multi-task pointing and counting (2025)",
    edge_cases="Images where either side is empty are left out; if none is left, an error.",
)
def mean_best_iou(predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike]) -> float:
    """Mean best IoU of the predicted boxes of each image, as published.

    Raises:
        BadInputError: Unequal numbers of images, or no image with boxes on both sides.
    """
    if len(predicted) != len(truth):
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(truth)} images")
    best = []
    for found, true in zip(predicted, truth, strict=True):
        overlap = iou_matrix(found, true)
        if overlap.size:
            best.append(overlap.max(axis=1))
    if not best:
        raise BadInputError("mean best IoU is undefined", why="no image has boxes on both sides")
    return float(np.concatenate(best).mean())


@dataclass(frozen=True)
class RegionScores:
    """One-to-one matching of predicted and true regions, counts summed over images.

    Attributes:
        precision: Matched / predicted.
        recall: Matched / true.
        f1: Harmonic mean.
        mean_iou: Mean IoU of the matched pairs; 0 without any.
        alignment: Share of the matched pairs whose names agree (one contains the other, case ignored); `None` without
            names.
        matched: Matched pairs.
        predicted: Predicted regions.
        true: True regions.
    """

    precision: float
    recall: float
    f1: float
    mean_iou: float
    alignment: float | None
    matched: int
    predicted: int
    true: int

    @property
    def published(self) -> dict[str, float]:
        """The numbers under the names of the released MedRegA evaluation, where precision and recall are exchanged."""
        return {"precision": self.recall, "recall": self.precision, "f1": self.f1}


def region_scores(
    predicted: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    *,
    threshold: float = 0.5,
    predicted_names: Sequence[Sequence[str]] | None = None,
    true_names: Sequence[Sequence[str]] | None = None,
) -> RegionScores:
    """Match regions one to one by largest total IoU (Hungarian) and count the pairs at or above a threshold.

    Args:
        predicted: Predicted boxes of each image.
        truth: True boxes of each image.
        threshold: Least IoU of a match (the released evaluations use 0.5 and 0.75).
        predicted_names: Names of the predicted boxes, for the alignment.
        true_names: Names of the true boxes.

    Returns:
        The scores over all images.

    Raises:
        BadInputError: Numbers differ, or no box on either side.
    """
    from scipy.optimize import linear_sum_assignment

    if len(predicted) != len(truth):
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(truth)} images")
    named = predicted_names is not None and true_names is not None
    matched = aligned = n_found = n_true = 0
    overlaps: list[float] = []
    for index, (found, true) in enumerate(zip(predicted, truth, strict=True)):
        overlap = iou_matrix(found, true)
        n_found, n_true = n_found + overlap.shape[0], n_true + overlap.shape[1]
        rows, columns = linear_sum_assignment(-overlap)
        for row, column in zip(rows, columns, strict=True):
            if overlap[row, column] < threshold or overlap[row, column] == 0:
                continue
            matched += 1
            overlaps.append(float(overlap[row, column]))
            if predicted_names is not None and true_names is not None:
                aligned += _same(predicted_names[index][row], true_names[index][column])
    if n_found + n_true == 0:
        raise BadInputError("nothing to measure", why="there is no box on either side")
    precision = matched / n_found if n_found else 0.0
    recall = matched / n_true if n_true else 0.0
    return RegionScores(
        precision=precision,
        recall=recall,
        f1=2 * matched / (n_found + n_true),
        mean_iou=float(np.mean(overlaps)) if overlaps else 0.0,
        alignment=(aligned / matched if matched else 0.0) if named else None,
        matched=matched,
        predicted=n_found,
        true=n_true,
    )


def _same(a: str, b: str) -> bool:
    first, second = a.strip().casefold(), b.strip().casefold()
    return bool(first and second) and (first in second or second in first)


@metric(
    "region_f1",
    definition="F1 of predicted and true regions matched one to one (Hungarian on IoU) at IoU >= 0.5, counts "
    "summed over images.",
    source="Kuhn 1955 for the matching; as in region-to-text papers with precision and recall under their usual names",
    edge_cases="No box on either side is an error; images without boxes count through false alarms.",
)
def region_f1(predicted: Sequence[Any], truth: Sequence[Any], threshold: float = 0.5) -> float:
    """F1 of matched regions; see `region_scores`."""
    return region_scores(predicted, truth, threshold=threshold).f1
