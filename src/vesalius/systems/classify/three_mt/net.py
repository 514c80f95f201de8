"""A cascade of cross-attention stages, one for each kind of input, in which a missing input is skipped, not imputed.

After the Cascaded Multi-Modal Mixing Transformer (Liu et al., arXiv 2210.00255): a few latent queries go through the
stages; each lets them read one kind of input, then exchange, then think. Where an input is missing the queries pass
unchanged, so nothing stands in for it, not even a bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.nn.convnet import conv_stack


class ScalarTokens(nn.Module):
    """One token for each number of a table: its own line `w x + b`, so that any of them can be missing.

    Args:
        features: How many numbers.
        dim: Length of a token.
    """

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, dim) * 0.5)
        self.bias = nn.Parameter(torch.randn(features, dim) * 0.5)

    def forward(self, values: Tensor) -> Tensor:
        """`(n, features)`, NaN where missing, to `(n, features, dim)`."""
        return torch.nan_to_num(values)[..., None] * self.weight + self.bias


class MixingBlock(nn.Module):
    """Queries read tokens, exchange among themselves, pass a small net; each with a residual and a norm before."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.own = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, queries: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
        """`(n, q, d)` queries, `(n, t, d)` tokens, `(n, t)` True where a token must not be read; `(n, q, d)`."""
        q, k = self.norms[0](queries), self.norms[1](tokens)
        queries = queries + self.cross(q, k, k, key_padding_mask=hidden, need_weights=False)[0]
        q = self.norms[2](queries)
        queries = queries + self.own(q, q, q, need_weights=False)[0]
        out: Tensor = queries + self.mlp(self.norms[3](queries))
        return out


class MixingCascade(nn.Module):
    """The cascade with an answer after every stage.

    Args:
        stages: Kinds of input.
        dim: Length of a token.
        classes: Classes of the answers.
        queries: Latent queries.
        depth: Blocks in a stage.
        heads: Attention heads.
    """

    def __init__(self, stages: int, dim: int, classes: int, queries: int = 2, depth: int = 1, heads: int = 4) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, dim) * 0.02)
        self.stages = nn.ModuleList(nn.ModuleList(MixingBlock(dim, heads) for _ in range(depth)) for _ in range(stages))
        self.answers = nn.ModuleList(nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes)) for _ in range(stages))

    def forward(
        self, tokens: Sequence[Tensor], known: Sequence[Tensor], order: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Answers of all stages, in the order of the stages' numbers.

        Args:
            tokens: For each kind of input `(n, t, dim)`.
            known: For each `(n, t)`, True where a token is there; a row without any is a missing input.
            order: Stages in the order they run; by number when None.

        Returns:
            `(n, stages, classes)` logits, and `(n, stages)` True where a stage ran.
        """
        n = len(tokens[0])
        h = self.queries.expand(n, -1, -1)
        logits: list[Tensor] = [h.new_zeros(0)] * len(self.stages)
        for k in range(len(self.stages)) if order is None else order:
            there = known[k].any(1)
            # A row of attention over nothing is not a number: let it read everything, then throw the result away.
            hidden = ~known[k] & there[:, None]
            new = h
            for block in self.stages[k]:  # type: ignore[attr-defined] # a ModuleList of blocks
                new = block(new, tokens[k], hidden)
            h = torch.where(there[:, None, None], new, h)
            logits[k] = self.answers[k](h.mean(1))
        return torch.stack(logits, 1), torch.stack([m.any(1) for m in known], 1)


class TableImageNet(nn.Module):
    """Image tokens from a few convolutions, one token a number, the cascade (table first, as published)."""

    def __init__(self, features: int, classes: int, dim: int = 64) -> None:
        super().__init__()
        self.image = conv_stack(1, (16, 32, dim, dim))
        self.place = nn.Parameter(torch.randn(16, dim) * 0.02)
        self.table = ScalarTokens(features, dim)
        self.cascade = MixingCascade(2, dim, classes)

    def forward(
        self, pixels: Tensor, values: Tensor, order: Sequence[int] | None = None, zeros: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Logits `(n, 2, classes)` of stages table and image, and which ran.

        Args:
            pixels: `(n, 1, 64, 64)` in [0, 1]; all NaN where a case has no image.
            values: `(n, features)` standardised, NaN where missing.
            order: Order of the stages.
            zeros: Read missing inputs as zeros instead of skipping them.
        """
        seen = ~torch.isnan(pixels[:, 0, 0, :1])
        picture = self.image(torch.nan_to_num(pixels)).flatten(2).transpose(1, 2) + self.place
        known = [~torch.isnan(values), seen.expand(-1, picture.shape[1])]
        if zeros:
            known = [torch.ones_like(k) for k in known]
        logits, ran = self.cascade([self.table(values), picture], known, order)
        return logits, ran
