"""Losses of dense detection: a heat map that is high where objects have their centre."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def centre_heat(boxes: Tensor, height: int, width: int, sharpness: float = 6.0) -> Tensor:
    """The heat map that boxes call for: 1 in the cell of each centre, falling off as a Gaussian of the box's size.

    Args:
        boxes: `(n, 4)` left, top, right, bottom in cells.
        height: Cells down.
        width: Cells across.
        sharpness: A box's side in standard deviations of its Gaussian.

    Returns:
        `(height, width)`, the largest of the boxes' Gaussians in each cell; zeros for no boxes.
    """
    if not len(boxes):
        return boxes.new_zeros(height, width)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    last = boxes.new_tensor([width - 1, height - 1])
    cell = torch.minimum(middle.floor().clamp(min=0), last)  # a centre on the right or lower edge lies in the last cell
    spread = ((boxes[:, 2:] - boxes[:, :2]) / sharpness).clamp(min=0.35)
    y = torch.arange(height, device=boxes.device)[None, :, None]
    x = torch.arange(width, device=boxes.device)[None, None, :]
    far_x = ((x - cell[:, 0, None, None]) / spread[:, 0, None, None]) ** 2
    far_y = ((y - cell[:, 1, None, None]) / spread[:, 1, None, None]) ** 2
    return torch.exp(-(far_x + far_y) / 2).amax(0)


def centre_focal(logits: Tensor, heat: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """Focal loss of centres that costs less near a centre (Law and Deng, "CornerNet", ECCV 2018, equation 1).

    `-(1 - p)^a log p` where the heat is 1, `-(1 - heat)^b p^a log(1 - p)` elsewhere, summed over a picture and divided
    by its number of centres (at least 1); the mean over pictures, so that one with hundreds of cells counts as much as
    one with a single polyp.

    Args:
        logits: `(n, h, w)`.
        heat: `(n, h, w)` from 0 to 1.
        alpha: How little easy cells count.
        beta: How little cells near a centre count.
    """
    p, there = logits.sigmoid(), heat >= 1
    inside = (1 - p) ** alpha * F.logsigmoid(logits)
    outside = (1 - heat) ** beta * p**alpha * F.logsigmoid(-logits)
    each = -torch.where(there, inside, outside).sum((1, 2)) / there.sum((1, 2)).clamp(min=1)
    return each.mean()
