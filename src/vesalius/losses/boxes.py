"""Losses of boxes given as centre and size in shares of the picture."""

from __future__ import annotations

import torch
from torch import Tensor


def corners(box: Tensor) -> Tensor:
    """`(..., 4)` centre x, centre y, width, height to left, top, right, bottom."""
    middle, size = box[..., :2], box[..., 2:]
    return torch.cat([middle - size / 2, middle + size / 2], -1)


def centres(box: Tensor) -> Tensor:
    """`(..., 4)` left, top, right, bottom to centre x, centre y, width, height."""
    low, high = box[..., :2], box[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes that pair up.

    `IoU = |A n B| / |A u B|`, `GIoU = IoU - (|C| - |A u B|) / |C|`, C the smallest box around both (Rezatofighi et al.,
    CVPR 2019). Boxes without area give 0, never NaN, and a gradient that is finite.

    Args:
        a: `(..., 4)` left, top, right, bottom.
        b: The same shape, or one that broadcasts.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1) for x in (a, b))
    union = area_a + area_b - shared
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    iou = shared / union.clamp(min=1e-9)
    return iou, iou - (hull - union) / hull.clamp(min=1e-9)


def box_losses(predicted: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """`l1 = mean_n sum_4 |b - b*|` and `giou = mean_n (1 - GIoU)`; 0 for no boxes.

    Args:
        predicted: `(n, 4)` centre and size.
        truth: `(n, 4)` centre and size.
    """
    n = max(len(predicted), 1)
    _, giou = overlap(corners(predicted), corners(truth))
    return {"l1": (predicted - truth).abs().sum() / n, "giou": (1 - giou).sum() / n}
