"""One encoder for an image, a text, or both: what is missing is replaced by prompts from a pool (PTUnifier)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.systems.represent.ptunifier.coattention import CoAttention
from vesalius.systems.represent.ptunifier.prompt_pool import PromptPool, masked_mean

#: What stands in for a missing side: chosen prompts, the same prompts for all, or nothing but zeros.
Stand = Literal["pool", "static", "zeros"]


class UnifiedPair(nn.Module):
    """Image cells and words, each through a layer of its own, then two streams that read each other.

    Args:
        cell_dim: Length of an image cell's feature.
        word_dim: Length of a word's embedding.
        cells: Image cells.
        words: Most words, [CLS] among them.
        dim: Width.
        out: Length of a vector for retrieval.
        pool: Rows of each pool.
        layers: Layers of the two streams.
        heads: Attention heads.
        stand: What stands in for a missing side.
    """

    def __init__(
        self, cell_dim: int, word_dim: int, *, cells: int = 16, words: int = 32, dim: int = 64, out: int = 64,
        pool: int = 128, layers: int = 2, heads: int = 4, stand: Stand = "pool",
    ) -> None:  # fmt: skip
        super().__init__()
        self.stand = stand
        self.cell = nn.Sequential(nn.LayerNorm(cell_dim), nn.Linear(cell_dim, dim))
        self.word = nn.Sequential(nn.Linear(word_dim, dim), nn.LayerNorm(dim))
        self.cell_place = nn.Parameter(torch.randn(cells + 1, dim) * 0.02)
        self.word_place = nn.Parameter(torch.randn(words, dim) * 0.02)
        self.kind = nn.Parameter(torch.randn(2, dim) * 0.02)
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.pools = nn.ModuleDict(
            {name: PromptPool(pool, dim, take, static=stand == "static") for name, take in (("image", 9), ("text", 6))}
        )
        self.image_layer, self.text_layer = (
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.fusion = CoAttention(dim, layers, heads)
        self.poolers = nn.ModuleList(nn.Sequential(nn.Linear(dim, dim), nn.Tanh()) for _ in range(2))
        self.project = nn.Sequential(nn.LayerNorm(2 * dim), nn.Linear(2 * dim, out, bias=False))
        self.match = nn.Linear(2 * dim, 2)

    def _stand_in(self, side: str, query: Tensor) -> Tensor:
        prompts: Tensor = self.pools[side](query)
        return torch.zeros_like(prompts) if self.stand == "zeros" else prompts

    def forward(self, cells: Tensor | None = None, words: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """`(n, 2 dim)` joined summaries of both streams.

        Args:
            cells: `(n, cells, cell_dim)`, or None where the image is missing.
            words: `(n, t, word_dim)`, [CLS] first, or None where the text is missing.
            real: `(n, t)` True where a word is no padding; with `words`.
        """
        if cells is None and (words is None or real is None):
            raise ValueError("an image, or a text and its mask, or both")
        v = None if cells is None else self.cell(cells) + self.cell_place[1:]
        t = None if words is None else self.word(words) + self.word_place[: words.shape[1]]
        n = len(v if v is not None else t)  # type: ignore[arg-type] # one of them is there
        start = (self.start + self.cell_place[0]).expand(n, 1, -1)
        if t is None or real is None:
            assert v is not None  # noqa: S101 # for the type checker: checked above
            pseudo = self._stand_in("text", v.mean(1))
            t = torch.cat([self.word_place[:1].expand(n, 1, -1), pseudo], 1)
            real = torch.ones(t.shape[:2], dtype=torch.bool, device=t.device)
        if v is None:
            v = self._stand_in("image", masked_mean(t[:, 1:], real[:, 1:]))
        v = self.image_layer(torch.cat([start, v], 1) + self.kind[0])
        t = self.text_layer(t + self.kind[1], src_key_padding_mask=~real)
        v, t = self.fusion(v, torch.ones(v.shape[:2], dtype=torch.bool, device=v.device), t, real)
        return torch.cat([self.poolers[1](t[:, 0]), self.poolers[0](v[:, 0])], 1)

    def vector(self, summary: Tensor) -> Tensor:
        """`(n, out)` unit vectors for retrieval from summaries."""
        return F.normalize(self.project(summary), dim=1)
