"""A pool of learned tokens that stand in for an input that is missing, chosen by what is there.

After PTUnifier (Chen et al., ICCV 2023, arXiv 2302.08958): the `k` rows of a pool whose dot product with a query is
largest become pseudo tokens. Which rows is a choice without a gradient; the rows themselves must have one, or the pool
stays what it was drawn as.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PromptPool(nn.Module):
    """Rows to choose from.

    Args:
        size: How many rows.
        dim: Length of a row.
        take: How many become tokens.
        static: The first `take` rows for every input, whatever the query: the ablation.
    """

    def __init__(self, size: int, dim: int, take: int, *, static: bool = False) -> None:
        super().__init__()
        if not 0 < take <= size:
            raise ValueError(f"cannot take {take} of {size} rows")
        self.rows = nn.Parameter(torch.randn(size, dim) * 0.02)
        self.take, self.static = take, static

    @torch.no_grad()
    def choose(self, query: Tensor) -> Tensor:
        """`(n, take)` row numbers for `(n, dim)` queries, the best first."""
        if self.static:
            return torch.arange(self.take, device=query.device).expand(len(query), -1)
        return (query @ self.rows.T).topk(self.take, dim=1).indices

    def forward(self, query: Tensor) -> Tensor:
        """`(n, take, dim)` pseudo tokens; gradients reach the rows that were chosen."""
        return self.rows[self.choose(query)]


def masked_mean(tokens: Tensor, real: Tensor) -> Tensor:
    """`(n, d)` mean over the real ones of `(n, t, d)` tokens; zero where there is none.

    Args:
        tokens: `(n, t, d)`.
        real: `(n, t)` True where a token counts.
    """
    weight = real[..., None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1)
