"""Points and counts: the pointing game, matching accuracy as published and corrected, counting errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError
from vesalius.metrics.checks import finite, same_length
from vesalius.metrics.detection.boxes import as_boxes
from vesalius.metrics.registry import metric

__all__ = [
    "PointScores",
    "PublishedPoints",
    "count_mae",
    "count_mse",
    "matching_accuracy",
    "point_f1",
    "point_scores",
    "pointing_game",
    "published_points",
]

Floats = NDArray[np.float64]


def _points(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return finite(array, name, ndim=2) if array.size else np.zeros((0, 2))


def _distances(a: Floats, b: Floats) -> Floats:
    if a.shape[1] != b.shape[1] and len(a) and len(b):
        raise BadInputError("points differ in dimension", why=f"{a.shape[1]} and {b.shape[1]}")
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2))


def _images(predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike]) -> list[Floats]:
    if len(predicted) != len(truth) or not truth:
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(truth)} images")
    return [_distances(_points(p, "predicted"), _points(t, "truth")) for p, t in zip(predicted, truth, strict=True)]


@metric(
    "pointing_game",
    definition="Share of phrases whose point lies in one of their true boxes, or within the tolerance of one (pixels).",
    source="Zhang et al., ECCV 2016 (there with a tolerance of 15 pixels)",
    edge_cases="A phrase without a true box is an error; a missing point (NaN) counts as a miss.",
)
def pointing_game(points: ArrayLike, boxes: Sequence[ArrayLike], tolerance: float = 0.0) -> float:
    """Pointing game on boxes.

    Args:
        points: One point `(x, y)` a phrase, shape `(n, 2)`; the place of the largest value of a heat map, or NaN.
        boxes: True boxes of each phrase.
        tolerance: Distance to a box that still counts, in pixels.

    Returns:
        Share of hits.

    Raises:
        BadInputError: Numbers differ, or a phrase has no box.
    """
    marks = np.asarray(points, dtype=np.float64)
    if marks.ndim != 2 or marks.shape[1] != 2 or len(marks) != len(boxes) or not len(boxes):
        raise BadInputError("inputs differ in length", why=f"points of shape {marks.shape} for {len(boxes)} phrases")
    hits = 0
    for index, (point, held) in enumerate(zip(marks, boxes, strict=True)):
        true = as_boxes(held)
        if not len(true):
            raise BadInputError("pointing game is undefined", item=f"phrase {index}", why="it has no true box")
        away = np.maximum(np.maximum(true[:, :2] - point, point - true[:, 2:]), 0.0)
        inside = ((point >= true[:, :2]) & (point < true[:, 2:])).all(axis=1)
        near = np.hypot(away[:, 0], away[:, 1]) <= tolerance if tolerance > 0 else inside
        hits += bool((inside | near).any())
    return hits / len(boxes)


@dataclass(frozen=True)
class PublishedPoints:
    """Point scores as the released evaluation of the pointing-and-counting study computes them.

    Attributes:
        matching_accuracy: Share of predicted points nearer than the radius to some true point; blind to missed points,
            and a point predicted twice counts twice.
        point_mae: Mean distance of predicted points to the nearest true point.
        point_rmse: Root of the mean squared distance.
        zero_cases: Images where either side is empty; they are left out of the rest.
        images: Images.
    """

    matching_accuracy: float
    point_mae: float
    point_rmse: float
    zero_cases: int
    images: int


def published_points(
    predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike], radius: float = 10.0
) -> PublishedPoints:
    """Point scores as published; use `point_scores` to judge a model.

    Args:
        predicted: Points of each image, shape `(n, 2)`.
        truth: True points of each image.
        radius: Distance below which a point matches, in pixels.

    Returns:
        The published scores.

    Raises:
        BadInputError: Numbers differ, or no image has points on both sides.
    """
    nearest, zero = [], 0
    for distance in _images(predicted, truth):
        if distance.size:
            nearest.append(distance.min(axis=1))
        else:
            zero += 1
    if not nearest:
        raise BadInputError("matching accuracy is undefined", why="no image has points on both sides")
    away = np.concatenate(nearest)
    return PublishedPoints(
        float((away < radius).mean()), float(away.mean()), float(np.sqrt((away**2).mean())), zero, len(truth)
    )


@metric(
    "matching_accuracy",
    definition="Share of predicted points nearer than 10 pixels to some true point, images with an empty "
    "side left out. As "
    "published: it does not see missed points and rewards duplicates; point_f1 is the corrected form.",
    source="as published for multi-task pointing and counting (2025)",
    edge_cases="Images with an empty side are left out; if none is left, an error.",
)
def matching_accuracy(predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike], radius: float = 10.0) -> float:
    """Matching accuracy as published; see `published_points`."""
    return published_points(predicted, truth, radius).matching_accuracy


@dataclass(frozen=True)
class PointScores:
    """One-to-one matching of points, counts summed over images.

    Attributes:
        precision: Matched / predicted, 1 when nothing was predicted and nothing is there.
        recall: Matched / true.
        f1: Harmonic mean.
        mean_distance: Mean distance of matched pairs, `None` without any.
        empty_right: Share of the images without true points for which no point was predicted, `None` without such
            images.
        matched: Matched pairs.
        predicted: Predicted points.
        true: True points.
    """

    precision: float
    recall: float
    f1: float
    mean_distance: float | None
    empty_right: float | None
    matched: int
    predicted: int
    true: int


def point_scores(predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike], radius: float = 10.0) -> PointScores:
    """Precision, recall and F1 of points matched one to one within a radius.

    The matching has as many pairs as possible and, among those, the least total distance.

    Args:
        predicted: Points of each image, shape `(n, 2)` or `(n, 3)`.
        truth: True points of each image.
        radius: Distance below which a pair may match, in the unit of the points.

    Returns:
        The scores.

    Raises:
        BadInputError: Numbers differ.
    """
    from scipy.optimize import linear_sum_assignment

    matched = found = true = empty = silent = 0
    total = 0.0
    for distance in _images(predicted, truth):
        found, true = found + distance.shape[0], true + distance.shape[1]
        if not distance.shape[1]:
            empty, silent = empty + 1, silent + (distance.shape[0] == 0)
        if not distance.size:
            continue
        near = distance < radius
        # A pair out of reach costs more than any number of pairs within it, so the count of pairs comes first.
        cost = np.where(near, distance, radius * (min(distance.shape) + 1))
        rows, columns = linear_sum_assignment(cost)
        kept = near[rows, columns]
        matched += int(kept.sum())
        total += float(distance[rows, columns][kept].sum())
    return PointScores(
        precision=matched / found if found else float(true == 0),
        recall=matched / true if true else float(found == 0),
        f1=2 * matched / (found + true) if found + true else 1.0,
        mean_distance=total / matched if matched else None,
        empty_right=silent / empty if empty else None,
        matched=matched,
        predicted=found,
        true=true,
    )


@metric(
    "point_f1",
    definition="F1 of predicted and true points matched one to one (most pairs, then least distance) within "
    "10 pixels, counts "
    "summed over images.",
    source="corrected form of the published matching accuracy",
    edge_cases="No point on either side gives 1; images with an empty side count through misses or false alarms.",
)
def point_f1(predicted: Sequence[ArrayLike], truth: Sequence[ArrayLike], radius: float = 10.0) -> float:
    """F1 of matched points; see `point_scores`."""
    return point_scores(predicted, truth, radius).f1


def _counts(truth: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    true, guess = finite(truth, "truth"), finite(predicted, "predicted")
    same_length(("truth", true), ("predicted", guess))
    if (true < 0).any() or (guess < 0).any():
        raise BadInputError("cannot use counts", why="they must not be negative")
    return true, guess


@metric(
    "count_mae",
    definition="Mean absolute difference of predicted and true counts.",
    source="standard",
    higher_is_better=False,
    unit="objects",
    range=(0.0, float("inf")),
    edge_cases="Negative counts, NaN (an unread answer) and empty input are errors: an unread answer is never a zero.",
)
def count_mae(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error of counts, both of shape `(n,)`."""
    true, guess = _counts(truth, predicted)
    return float(np.abs(true - guess).mean())


@metric(
    "count_mse",
    definition="Mean squared difference of predicted and true counts.",
    source="standard",
    higher_is_better=False,
    unit="objects^2",
    range=(0.0, float("inf")),
    edge_cases="Negative counts, NaN (an unread answer) and empty input are errors.",
)
def count_mse(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean squared error of counts, both of shape `(n,)`."""
    true, guess = _counts(truth, predicted)
    return float(((true - guess) ** 2).mean())
