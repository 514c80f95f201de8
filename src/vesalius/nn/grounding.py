"""The net that puts a box around what a phrase names: cells of a frozen pyramid and words, fused, read off one token.

After TransVG (Deng et al., ICCV 2021) as MedRPG uses it (Chen et al., MICCAI 2023), with one thing added: the box is
regressed from where the readout token looks (as reference points in Deformable DETR, Zhu et al., ICLR 2021), so that a
few hundred steps are enough; and one: a logit of whether what the phrase names is there at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.nn.fusion import FusionTransformer
from vesalius.nn.position import sine_2d


@dataclass(frozen=True)
class Grounded:
    """What comes out for n pairs of picture and phrase.

    Args:
        box: `(n, 4)` centre x, centre y, width, height, as shares of the picture.
        there: `(n,)` logit of whether the picture shows what the phrase names.
        hidden: `(n, 1 + t + cells, dim)` fused tokens: readout, words, cells row by row.
        attention: `(n, 1 + t + cells, 1 + t + cells)` of the last layer, averaged over heads.
        words: How many word tokens `t` there are.
    """

    box: Tensor
    there: Tensor
    hidden: Tensor
    attention: Tensor
    words: int

    @property
    def cells(self) -> slice:
        """Where the cells are among the tokens."""
        return slice(1 + self.words, None)

    @property
    def heat(self) -> Tensor:
        """`(n, cells)` share of the readout token's attention to each cell."""
        seen = self.attention[:, 0, self.cells]
        return seen / seen.sum(1, keepdim=True).clamp(min=1e-6)


class GroundNet(nn.Module):
    """See the module.

    Args:
        dim: Length of a token.
        layers: Fusion layers.
        heads: Attention heads.
        channels: Channels of the maps at strides 16 and 32.
        grid: Cells along each side of the stride-16 map.
        text_dim: Length of a word's state.
        max_words: Word tokens that are read; later ones are cut off.
        dropout: In the fusion.
    """

    place: Tensor

    def __init__(
        self,
        dim: int = 128,
        layers: int = 3,
        heads: int = 4,
        channels: tuple[int, int] = (112, 1280),
        grid: int = 14,
        text_dim: int = 384,
        max_words: int = 24,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.grid, self.max_words = grid, max_words
        self.maps = nn.ModuleList(nn.Sequential(nn.LayerNorm(c), nn.Linear(c, dim)) for c in channels)
        self.text = nn.Sequential(nn.LayerNorm(text_dim), nn.Linear(text_dim, dim))
        self.readout = nn.Parameter(torch.randn(dim) * 0.02)
        self.order = nn.Parameter(torch.randn(max_words, dim) * 0.02)
        self.register_buffer("place", sine_2d(grid, grid, dim), persistent=False)
        self.fusion = FusionTransformer(dim, layers, heads, dropout=dropout)
        self.box = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4))
        self.there = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, fine: Tensor, coarse: Tensor, words: Tensor, real: Tensor) -> Grounded:
        """Ground one phrase in each picture.

        Args:
            fine: `(n, c16, grid, grid)`.
            coarse: `(n, c32, grid / 2, grid / 2)`.
            words: `(n, t, text_dim)` states of the phrase's tokens.
            real: `(n, t)` whether a token is one.
        """
        words, real = words[:, : self.max_words], real[:, : self.max_words].bool()
        near, wide = (m(x.permute(0, 2, 3, 1)) for m, x in zip(self.maps, (fine, coarse), strict=True))
        wide = F.interpolate(wide.permute(0, 3, 1, 2), (self.grid, self.grid), mode="bilinear").permute(0, 2, 3, 1)
        cells = (near + wide).flatten(1, 2) + self.place
        n, t = words.shape[:2]
        tokens = torch.cat([self.readout.expand(n, 1, -1), self.text(words) + self.order[:t], cells], 1)
        known = torch.cat([real.new_ones(n, 1), real, real.new_ones(n, cells.shape[1])], 1)
        hidden, attention = self.fusion(tokens, known)
        out = Grounded(hidden.new_zeros(0), hidden.new_zeros(0), hidden, attention, t)
        steps = (torch.arange(self.grid, device=hidden.device) + 0.5) / self.grid
        heat = out.heat.view(n, self.grid, self.grid)
        looked = torch.stack([(heat.sum(1) * steps).sum(1), (heat.sum(2) * steps).sum(1)], 1)
        middle, size = self.box(hidden[:, 0]).split(2, 1)
        box = torch.cat([middle + torch.logit(looked, eps=1e-4), size], 1).sigmoid()
        return Grounded(box, self.there(hidden[:, 0])[:, 0], hidden, attention, t)
