"""Neighbourhood attention in two dimensions: each place reads a window around it, dilated if wanted.

Hassani et al., "Neighborhood Attention Transformer" (arXiv 2204.07143) and "Dilated Neighborhood Attention" (arXiv
2209.15001). At the border the window is shifted inwards, not padded, so that every place has the same number of
neighbours; with dilation the same holds among the places of its residue class. Where a map is smaller than the window,
the window is the map.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Places for each neighbour up to which one masked product over all pairs is faster than gathering the neighbours
#: (measured forwards and backwards on one core: it turns between 28 and 64 for a window of 3, 21 and 33 for one of 7).
_DENSE = 30


def widest(size: int, window: int) -> int:
    """The largest dilation that leaves a full window along a side: `floor(size / window)`, at least 1."""
    return max(size // window, 1)


def neighbours(size: int, window: int, dilation: int = 1) -> Tensor:
    """Which places along one side each place reads.

    Args:
        size: Length of the side.
        window: Neighbours along it.
        dilation: Step between neighbours; reduced to `widest` where the side is too short for it.

    Returns:
        `(size, min(window, size))` indices, rising along each row.
    """
    window, step = min(window, size), min(dilation, widest(size, window))
    place = torch.arange(size)
    residue, at = place % step, place // step
    length = (size - residue + step - 1) // step  # places of this residue class
    first = torch.minimum((at - window // 2).clamp(min=0), length - window)
    return residue[:, None] + step * (first[:, None] + torch.arange(window))


@lru_cache(maxsize=64)
def _table(height: int, width: int, window: int, dilation: int) -> tuple[Tensor, Tensor]:
    """`(H W, k)` flat indices of each place's neighbours, and of the entry of the bias table that each one takes.

    The bias depends on the offset in steps of the dilation, so that one table serves every dilation.
    """
    sides = [neighbours(n, window, dilation) for n in (height, width)]
    steps = [min(dilation, widest(n, min(window, n))) for n in (height, width)]
    offsets = [
        torch.div(side - torch.arange(len(side))[:, None], step, rounding_mode="trunc") + window - 1
        for side, step in zip(sides, steps, strict=True)
    ]
    flat = sides[0][:, None, :, None] * width + sides[1][None, :, None, :]
    bias = offsets[0][:, None, :, None] * (2 * window - 1) + offsets[1][None, :, None, :]
    return flat.reshape(height * width, -1), bias.reshape(height * width, -1)


class NeighbourhoodAttention(nn.Module):
    """Multi-head attention of each place of a map to its neighbourhood, with a learned bias for each relative place.

    Args:
        channels: Channels in and out.
        heads: Attention heads; they divide the channels.
        window: Neighbours along each side, odd.
    """

    def __init__(self, channels: int, heads: int, window: int = 7) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, x: Tensor, dilation: int = 1) -> Tensor:
        """`(n, H, W, C)` to the same; a dilation that the map is too small for is reduced along the short side."""
        n, height, width, channels = x.shape
        places = height * width
        table, relative = (t.to(x.device) for t in _table(height, width, self.window, dilation))
        split = self.qkv(x).reshape(n, places, 3, self.heads, channels // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        bias = self.bias[:, relative]
        if places <= _DENSE * table.shape[1]:
            mask = x.new_full((self.heads, places, places), -torch.inf)
            mask = mask.scatter(2, table.expand(self.heads, -1, -1), bias)
            read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            near_k, near_v = (t[:, :, table] for t in (k, v))
            score = torch.einsum("nhpd,nhpkd->nhpk", q, near_k) * (channels // self.heads) ** -0.5 + bias
            read = torch.einsum("nhpk,nhpkd->nhpd", score.softmax(-1), near_v)
        out: Tensor = self.out(read.transpose(1, 2).reshape(n, height, width, channels))
        return out
