"""Where a name may be in a picture: a coarse map and whether it is there at all, over a frozen encoder's cells.

The picture's cells pass through a small trunk once; each name then turns into a filter over them (a product of a vector
with every cell, as in IMIS-Net, arXiv 2411.12814) and into a gate on channels (FiLM, Perez et al., arXiv 1709.07871).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Mix(nn.Module):
    """A residual 3x3 convolution that also sees the picture's mean and maximum."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, dim)
        self.near = nn.Conv2d(dim, dim, 3, padding=dilation, dilation=dilation)
        self.whole = nn.Linear(2 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        seen = self.whole(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1))
        return x + F.gelu(self.near(y) + seen[:, :, None, None])


class Locator(nn.Module):
    """Coarse maps of names.

    Args:
        channels: Of the encoder's map.
        words: Length of a sentence vector.
        dim: Width of the trunk.
        pool: Cells of the encoder's map that make one of the coarse map's, along a side.
    """

    def __init__(self, channels: int, words: int, dim: int = 64, pool: int = 4) -> None:
        super().__init__()
        self.pool = pool
        self.narrow = nn.Conv2d(channels, dim, 1)
        self.trunk = nn.ModuleList(_Mix(dim, d) for d in (1, 2, 4, 1))
        self.name = nn.Sequential(nn.Linear(words, 2 * dim), nn.LayerNorm(2 * dim), nn.GELU(), nn.Dropout(0.1))
        self.gate = nn.Linear(2 * dim, 2 * dim)
        self.read = nn.Conv2d(dim, dim, 3, padding=1)
        self.vector = nn.Linear(2 * dim, dim + 1)
        self.there = nn.Sequential(nn.Linear(5 * dim + 1, dim), nn.GELU(), nn.Linear(dim, 1))

    def pooled(self, features: Tensor) -> Tensor:
        """`(b, channels, h, w)` maps of pictures to `(b, channels, h / pool, w / pool)`."""
        return F.avg_pool2d(features, self.pool) if self.pool > 1 else features

    def cells(self, pooled: Tensor) -> Tensor:
        """What `pooled` gave to the trunk's `(b, dim, h, w)`."""
        out: Tensor = self.narrow(pooled)
        for mix in self.trunk:
            out = mix(out)
        return out

    def forward(self, cells: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """What `cells` gave, and a name for each row.

        Args:
            cells: `(n, dim, h, w)`.
            words: `(n, words)`.

        Returns:
            `(n, h, w)` logits, and `(n,)` the logit that it is there.
        """
        name = self.name(words)
        scale, shift = self.gate(name).chunk(2, 1)
        x = F.gelu(self.read(cells) * (1 + scale[:, :, None, None]) + shift[:, :, None, None])
        vector = self.vector(name)
        logits = torch.einsum("nc,nchw->nhw", vector[:, :-1], x) + vector[:, -1, None, None]
        weight = logits.flatten(1).softmax(1)
        there = torch.einsum("np,ncp->nc", weight, x.flatten(2))
        top = logits.flatten(1).amax(1, keepdim=True)
        seen = torch.cat([there, cells.mean((2, 3)), x.mean((2, 3)), name, top], 1)
        return logits, self.there(seen)[:, 0]
