"""TaCo: tell the true region from false ones by what words, region and readout attend to in common.

After Chen et al., "Medical Phrase Grounding with Region-Phrase Context Contrastive Alignment", MICCAI 2023 (MedRPG).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

#: Largest weight of the loss, and the exponent of its rise.
WEIGHT, POWER = 0.05, 0.9
TEMPERATURE = 0.1
Floats = npt.NDArray[np.float32]


def ramp(done: float, weight: float = WEIGHT) -> float:
    """Weight of the loss once a share `done` of training is over: `weight done^0.9`, 0.05 as published."""
    return float(weight * done**POWER)


def negative_boxes(
    truth: Floats, rng: np.random.Generator, count: int = 5, jitter: float = 0.1, limit: float = 0.25, tries: int = 300
) -> Floats:
    """False regions of the size of the true one: uniform centre, inside the picture, little overlap.

    Args:
        truth: `(n, 4)` left, top, right, bottom in shares of the picture.
        rng: For the draws.
        count: False boxes of each true one.
        jitter: Largest relative change of width and height.
        limit: Largest IoU with the true box.
        tries: Draws for one true box; when too few fit (the true box fills the picture), those of least overlap that
            lie inside the picture stand in, each moved inside where none does.

    Returns:
        `(n, count, 4)`.
    """
    size = truth[:, None, 2:] - truth[:, None, :2]
    drawn = np.minimum(size * rng.uniform(1 - jitter, 1 + jitter, (len(truth), tries, 2)), 1.0)
    low = rng.uniform(0, 1, (len(truth), tries, 2)) - drawn / 2
    outside = ((low < 0) | (low + drawn > 1)).any(2)
    low = np.clip(low, 0, 1 - drawn)
    shared = np.minimum(low + drawn, truth[:, None, 2:]) - np.maximum(low, truth[:, None, :2])
    both = np.clip(shared, 0, None).prod(2)
    iou = both / np.maximum(drawn.prod(2) + size.prod(2) - both, 1e-9)
    # Those that fit come first, in the order drawn; the rest by overlap, those that had to be moved last.
    rank = np.where(~outside & (iou <= limit), -1.0, iou + 2.0 * outside)
    first = np.argsort(rank, axis=1, kind="stable")[:, :count]
    boxes = np.concatenate([low, low + drawn], 2)
    return np.take_along_axis(boxes, first[:, :, None], 1).astype(np.float32)


def region_cells(boxes: Tensor, grid: int) -> Tensor:
    """Weights that average over the cells of each region: rows by y, columns by x.

    A region covers cells `floor(x0 g) : floor(x1 g)` and `floor(y0 g) : floor(y1 g)`, at least one along each side.

    Args:
        boxes: `(..., 4)` left, top, right, bottom in shares of the picture.
        grid: Cells along each side.

    Returns:
        `(..., grid * grid)`, cells row by row, summing to 1.
    """
    low = (boxes[..., :2] * grid).floor().clamp(0, grid - 1)
    high = torch.maximum((boxes[..., 2:] * grid).floor(), low + 1)
    at = torch.arange(grid, device=boxes.device)
    inside = (at >= low[..., None]) & (at < high[..., None])  # (..., 2, grid): x, then y
    cells = (inside[..., 1, :, None] & inside[..., 0, None, :]).flatten(-2).to(boxes.dtype)
    return cells / cells.sum(-1, keepdim=True)


def region_logits(hidden: Tensor, attention: Tensor, regions: Tensor, first_cell: int) -> Tensor:
    """How well each region goes with the phrase, by the context that they share.

    With `a_t, a_r` the attention rows of the phrase's first token and of the readout, `a_k, v_k` the mean row and mean
    token over region k's cells: `w_k = a_t a_k a_r / (sum + 1e-5)`, `c_k = sum_l w_k[l] h_l`,
    `logit_k = cos(t + c_k, v_k + c_k) / 0.1`.

    Args:
        hidden: `(n, L, d)` fused tokens: readout, words (the first stands for the phrase), cells.
        attention: `(n, L, L)` of the last layer, averaged over heads.
        regions: `(n, K, cells)` from `region_cells`.
        first_cell: Index of the first cell among the tokens.

    Returns:
        `(n, K)`.
    """
    v = regions @ hidden[:, first_cell:]
    a = regions @ attention[:, first_cell:]
    w = attention[:, None, 1] * a * attention[:, None, 0]
    c = (w / (w.sum(2, keepdim=True) + 1e-5)) @ hidden
    return F.cosine_similarity(hidden[:, None, 1] + c, v + c, dim=2) / TEMPERATURE


def taco(logits: Tensor) -> Tensor:
    """InfoNCE over `(n, K)` region logits whose first column is the true region; 0 for no regions."""
    if not len(logits):
        return logits.sum()
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
