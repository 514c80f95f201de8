"""The net that finds every instance of what a phrase names: one heat map of centres and a box for each cell.

Anchor-free and dense, after CenterNet (Zhou et al., "Objects as Points", 2019) and FCOS (Tian et al., ICCV 2019), on
the maps of a frozen pyramid, with the phrase let in by feature-wise scales and shifts (FiLM, Perez et al., AAAI 2018).
Small things need a fine map and many answers, which a net that reads one box off one token cannot give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Dense:
    """What comes out for n pairs of picture and phrase.

    Args:
        centre: `(n, h, w)` logit that an instance has its centre in the cell.
        boxes: `(n, h, w, 4)` left, top, right, bottom in cells of the box around an instance centred there.
        there: `(n,)` logit of whether the picture shows what the phrase names.
    """

    centre: Tensor
    boxes: Tensor
    there: Tensor


class _Block(nn.Module):
    """A residual of two convolutions."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1), nn.GroupNorm(8, dim), nn.ReLU(), nn.Conv2d(dim, dim, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(n, dim, h, w)` to the same."""
        out: Tensor = F.relu(x + self.body(x))
        return out


class DenseBoxes(nn.Module):
    """See the module.

    Args:
        dim: Channels of the fused map.
        channels: Channels of the maps at strides 8, 16 and 32.
        text_dim: Length of a phrase's vector.
    """

    def __init__(self, dim: int = 64, channels: tuple[int, int, int] = (40, 112, 1280), text_dim: int = 384) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in channels)
        self.norms = nn.ModuleList(nn.GroupNorm(8, dim) for _ in channels)
        self.before = _Block(dim)
        self.films = nn.ModuleList(nn.Linear(text_dim, 2 * dim) for _ in range(2))
        self.blocks = nn.ModuleList(_Block(dim) for _ in range(2))
        self.centre = nn.Conv2d(dim, 1, 1)
        self.sides = nn.Conv2d(dim, 4, 1)
        self.there = nn.Linear(2 * dim, 1)
        nn.init.constant_(self.centre.bias, -math.log(99.0))  # type: ignore[arg-type] # torch's stub: it has a bias
        nn.init.zeros_(self.sides.weight)
        nn.init.constant_(self.sides.bias, math.log(2.0))  # type: ignore[arg-type] # torch's stub: it has a bias

    def fuse(self, maps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """`(n, dim, h, w)` at stride 8 from maps at strides 8, 16 and 32; once for all phrases of a picture."""
        # Maps of a ReLU6 net differ in scale by an order of magnitude: each is brought to one of its own.
        last = torch.channels_last  # several times faster on a processor
        fine, middle, coarse = (
            norm(lateral(x.contiguous(memory_format=last)))
            for norm, lateral, x in zip(self.norms, self.laterals, maps, strict=True)
        )
        middle = middle + F.interpolate(coarse, middle.shape[2:], mode="bilinear")
        fused = fine + F.interpolate(middle, fine.shape[2:], mode="bilinear")
        out: Tensor = self.before(F.relu(fused))
        return out

    def forward(self, fused: Tensor, phrase: Tensor) -> Dense:
        """Find what each phrase names.

        Args:
            fused: `(n, dim, h, w)` of `fuse`.
            phrase: `(n, text_dim)`.
        """
        x = fused
        for film, block in zip(self.films, self.blocks, strict=True):
            scale, shift = film(phrase)[:, :, None, None].chunk(2, 1)
            x = block(x * (1 + scale) + shift)
        height, width = x.shape[2:]
        y = torch.arange(height, device=x.device, dtype=x.dtype)[:, None] + 0.5
        across = torch.arange(width, device=x.device, dtype=x.dtype)[None] + 0.5
        left, top, right, bottom = self.sides(x).clamp(max=6.0).exp().unbind(1)
        boxes = torch.stack([across - left, y - top, across + right, y + bottom], 3)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return Dense(self.centre(x)[:, 0], boxes, self.there(pooled)[:, 0])
