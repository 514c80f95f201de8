"""Overlap of boxes `[x0, y0, x1, y1)` in continuous coordinates: IoU and generalised IoU."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError
from vesalius.metrics.checks import finite
from vesalius.metrics.registry import metric

__all__ = ["as_boxes", "giou", "giou_matrix", "iou", "iou_matrix"]

Floats = NDArray[np.float64]


def as_boxes(values: ArrayLike, name: str = "boxes") -> Floats:
    """Boxes as float64 of shape `(n, 4)`; an empty list gives `(0, 4)`.

    Raises:
        BadInputError: Wrong shape, NaN, or a box whose end lies before its start.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    array = finite(array, name, ndim=2)
    if array.shape[1] != 4:
        raise BadInputError(f"cannot use {name}", why=f"shape {array.shape}, (n, 4) is needed")
    wrong = (array[:, 2] < array[:, 0]) | (array[:, 3] < array[:, 1])
    if wrong.any():
        raise BadInputError(
            f"cannot use {name}",
            item=str(array[wrong][0].tolist()),
            why="a box ends before it starts",
            fix="give x0, y0, x1, y1 (not x, y, width, height)",
        )
    return array


def _areas(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def _intersection(a: Floats, b: Floats) -> Floats:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0.0, None), axis=2))


def iou_matrix(a: ArrayLike, b: ArrayLike) -> Floats:
    """IoU of each box of `a` with each of `b`.

    Args:
        a: Boxes, shape `(n, 4)`.
        b: Boxes, shape `(m, 4)`.

    Returns:
        Shape `(n, m)`; two boxes of area zero have an IoU of 0.

    Raises:
        BadInputError: Unusable boxes.
    """
    first, second = as_boxes(a), as_boxes(b)
    shared = _intersection(first, second)
    union = _areas(first)[:, None] + _areas(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def giou_matrix(a: ArrayLike, b: ArrayLike) -> Floats:
    """Generalised IoU of each box of `a` with each of `b`, shape `(n, m)`; see `giou`.

    Raises:
        BadInputError: Unusable boxes.
    """
    first, second = as_boxes(a), as_boxes(b)
    shared = _intersection(first, second)
    union = _areas(first)[:, None] + _areas(second)[None, :] - shared
    span = np.maximum(first[:, None, 2:], second[None, :, 2:]) - np.minimum(first[:, None, :2], second[None, :, :2])
    hull = np.prod(span, axis=2)
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    empty = np.divide(hull - union, hull, out=np.zeros_like(shared), where=hull > 0)
    return np.asarray(overlap - empty)


def _one(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != (4,) or second.shape != (4,):
        raise BadInputError("cannot compare boxes", why=f"shapes {first.shape} and {second.shape}, (4,) is needed")
    return as_boxes(first[None]), as_boxes(second[None])


@metric(
    "box_iou",
    definition="Area of the intersection over area of the union of two boxes [x0, y0, x1, y1), without the "
    "+1 of pixel counts.",
    source="Everingham et al., IJCV 2010, in continuous coordinates",
    edge_cases="Two boxes of area zero give 0; a box that ends before it starts is an error.",
)
def iou(a: ArrayLike, b: ArrayLike) -> float:
    """IoU of two boxes of shape `(4,)`."""
    return float(iou_matrix(*_one(a, b))[0, 0])


@metric(
    "box_giou",
    definition="IoU - (hull - union) / hull, hull being the smallest box around both.",
    source="Rezatofighi et al., CVPR 2019",
    range=(-1.0, 1.0),
    edge_cases="Both boxes without area at one point give 0; a box that ends before it starts is an error.",
)
def giou(a: ArrayLike, b: ArrayLike) -> float:
    """Generalised IoU of two boxes of shape `(4,)`."""
    return float(giou_matrix(*_one(a, b))[0, 0])
