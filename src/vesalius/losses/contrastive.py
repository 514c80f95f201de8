"""Contrastive losses between images and texts."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def multi_positive(logits: Tensor, positive: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Image-text contrast in which a row may have several right columns (UniCL).

    `L = 1/2 [ CE(softmax_j(l_ij), Y_ij / sum_j Y_ij) + CE(softmax_i(l_ij), Y_ij / sum_i Y_ij) ]`,
    the mean over rows and over columns that have a positive. With `Y` the identity it is CLIP's loss. After Yang et
    al., "Unified Contrastive Learning in Image-Text-Label Space", CVPR 2022 (arXiv 2204.03610).

    Args:
        logits: `(n, m)` scaled similarities of n images and m texts.
        positive: `(n, m)` weights >= 0, larger than 0 where the text is true of the image.
        ignore: `(n, m)` True where it is not known whether the text is true; such pairs are neither positive nor
            negative.

    Returns:
        A scalar; 0 when no pair is positive.
    """
    weight = positive.to(logits.dtype)
    if ignore is not None:
        logits = logits.masked_fill(ignore, float("-inf"))
        weight = weight.masked_fill(ignore, 0.0)
    return (_one_way(logits, weight) + _one_way(logits.T, weight.T)) / 2


def _one_way(logits: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum(1)
    rows = total > 0
    if not rows.any():  # the mean over nothing would be NaN, and so would every weight after it
        return logits[rows].sum()
    share = weight[rows] / total[rows, None]
    log_p = F.log_softmax(logits[rows], dim=1)
    # 0 * -inf is not a number: pairs without weight are taken out before the product.
    return -(share * log_p.masked_fill(share == 0, 0.0)).sum(1).mean()
