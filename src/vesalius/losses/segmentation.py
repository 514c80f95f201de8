"""Losses of masks: focal, Dice, and the error of a mask's own estimate of its overlap."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss of each mask, the mean over its pixels (Lin et al., "Focal Loss for Dense Object Detection", 2017).

    `FL = -a_t (1 - p_t)^gamma log p_t` with `p_t = p` and `a_t = alpha` inside the target, `1 - p` and `1 - alpha`
    outside.

    Args:
        logits: `(n, ..., h, w)`.
        target: The same shape, 0 or 1.
        gamma: How little easy pixels count.
        alpha: Weight of pixels inside.

    Returns:
        `(n, ...)`.
    """
    target = target.to(logits.dtype)
    p = logits.sigmoid()
    right = p * target + (1 - p) * (1 - target)
    weight = alpha * target + (1 - alpha) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (weight * (1 - right) ** gamma * entropy).mean((-2, -1))


def dice(logits: Tensor, target: Tensor, smooth: float = 1.0, over: Literal["mask", "batch"] = "mask") -> Tensor:
    """`1 - (2 sum p t + s) / (sum p + sum t + s)` (Milletari et al., "V-Net", 2016).

    Args:
        logits: `(n, ..., h, w)`.
        target: The same shape, 0 or 1.
        smooth: `s`; an empty prediction of an empty target costs nothing.
        over: `mask` sums over each mask; `batch` over everything, as IMIS-Net does, where small masks hardly count.

    Returns:
        `(n, ...)`, or a scalar over the batch.
    """
    p, t = logits.sigmoid(), target.to(logits.dtype)
    axes = (-2, -1) if over == "mask" else tuple(range(logits.ndim))
    return 1 - (2 * (p * t).sum(axes) + smooth) / (p.sum(axes) + t.sum(axes) + smooth)


@torch.no_grad()
def overlap(logits: Tensor, target: Tensor) -> Tensor:
    """`(n, ...)` IoU of masks cut at 0 with their targets; 1 where both are empty."""
    inside, t = logits > 0, target > 0.5
    union = (inside | t).sum((-2, -1))
    return torch.where(union > 0, (inside & t).sum((-2, -1)) / union.clamp(min=1), 1.0)
