"""From one segmented slice to a volume: each slice is prompted by its neighbour's mask, outwards until it is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vesalius.cases.geometry import Box, Mask
from vesalius.errors import UsageError
from vesalius.models.protocols import EncodedImage, Prompt, Segmentation, Segmenter

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

#: A mask that the model itself holds for worse than this IoU ends the walk.
LOST = 0.5
#: Share of its sides by which a neighbour's box is widened: structures grow from slice to slice.
MARGIN = 0.1


@dataclass(frozen=True)
class Propagation:
    """A mask through a volume.

    Args:
        mask: `(D, H, W)`.
        scores: `(D,)` the model's estimate of each slice's IoU; NaN where it was not asked. A slice whose score
            ended the walk keeps its score and has no mask.
        start: The slice that was prompted.
    """

    mask: BoolArray
    scores: FloatArray
    start: int


def propagate(
    model: Segmenter,
    encode: Callable[[int], EncodedImage],
    depth: int,
    start: int,
    first: Segmentation,
    *,
    text: str = "",
    lost: float = LOST,
) -> Propagation:
    """Follow a structure from one slice up and down through a volume.

    A slice is prompted with the box of its neighbour's mask, widened by `MARGIN`, with the neighbour's low-resolution
    logits, and with the target's name where there is one. A direction ends where the mask is empty, where the model's
    score falls below `lost`, or where the volume does.

    Args:
        model: Who segments.
        encode: Slice index to its embedding; called once for each slice that is reached.
        depth: Number of slices.
        start: Slice of `first`.
        first: The mask of the prompted slice; it is kept whatever its score.
        text: The target's name.
        lost: Score in [0, 1].

    Raises:
        UsageError: `start` is not a slice of the volume.
    """
    if not 0 <= start < depth:
        raise UsageError("no such slice", item=str(start), why=f"the volume has {depth} slices")
    mask = np.zeros((depth, *first.mask.shape), bool)
    scores = np.full(depth, np.nan, np.float32)
    mask[start], scores[start] = first.mask, first.score
    for slices in (range(start + 1, depth), range(start - 1, -1, -1)):
        last = first
        for k in slices:
            box = _widened(last.mask)
            if box is None:
                break
            last = model.segment(encode(k), Prompt(box=box, text=text, previous=last.logits))
            scores[k] = last.score
            if not last.score >= lost:  # a score that is not a number ends it too
                break
            mask[k] = last.mask
    return Propagation(mask, scores, start)


def _widened(mask: BoolArray) -> Box | None:
    """The box around a mask, at least a pixel wider on each side, within the picture; None for an empty mask."""
    box = Mask.from_array(mask).box()
    if box is None:
        return None
    dx, dy = (max(1, math.ceil(MARGIN * side)) for side in (box.width, box.height))
    return Box(box.x0 - dx, box.y0 - dy, box.x1 + dx, box.y1 + dy).clipped(*mask.shape)
