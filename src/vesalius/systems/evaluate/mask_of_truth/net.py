"""Features that nobody trained: fixed random filters, half-rectified, averaged over a grid.

A linear head on them reads texture and place about as well as a small trained net, in a second, and without any
knowledge that a shortcut could hide in (Jarrett et al., ICCV 2009; Saxe et al., ICML 2011).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RandomConv(nn.Module):
    """One layer of random zero-mean filters, both signs rectified, averaged over `grid` x `grid` cells.

    Args:
        filters: Number of filters.
        kernel: Their size in pixels.
        grid: Cells along each side.
        seed: Seed of the filters.
    """

    weight: Tensor

    def __init__(self, filters: int = 32, kernel: int = 5, grid: int = 6, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(filters, 1, kernel, kernel, generator=generator)
        weight = weight - weight.mean((2, 3), keepdim=True)  # a flat area gives 0, whatever its brightness
        self.register_buffer("weight", weight / weight.flatten(1).norm(dim=1)[:, None, None, None])
        self.grid = grid

    @property
    def features(self) -> int:
        """Length of the vector."""
        return (2 * len(self.weight) + 1) * self.grid**2

    def forward(self, grey: Tensor) -> Tensor:
        """`(n, 1, H, W)` values in [0, 1] to `(n, features)`: responses of both signs and brightness, by cell."""
        response = F.conv2d(grey, self.weight, padding="same")
        maps = torch.cat([response.relu(), (-response).relu(), grey], 1)
        return F.adaptive_avg_pool2d(maps, self.grid).flatten(1)
