"""A transformer over tokens of several kinds that shows its last attention: words and cells of a picture together.

Layers normalise first (Xiong et al., ICML 2020), which trains without the long warm-up of the published post-norm.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FusionLayer(nn.Module):
    """Self-attention and a small net, each with a residual and a norm before.

    Args:
        dim: Length of a token.
        heads: Attention heads.
        hidden: Width of the small net.
        dropout: Share of what the branches add that is dropped in training. Attention weights are not dropped: they are
            an answer too, and drawing a random number for each costs more than the attention itself.
    """

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, real: Tensor, show: bool = False) -> tuple[Tensor, Tensor | None]:
        """New tokens, and the attention where it is wanted.

        Args:
            x: `(n, t, dim)` tokens.
            real: `(n, t)` True where a token may be read.
            show: Give the attention; it costs the fused kernel.

        Returns:
            `(n, t, dim)`, and `(n, t, t)` attention after the softmax, averaged over heads, or None.
        """
        n, t, d = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mask = real[:, None, None, :]
        weights: Tensor | None = None
        if show:
            logits = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
            attention = logits.masked_fill(~mask, float("-inf")).softmax(3)
            read, weights = attention @ v, attention.mean(1)
        else:
            read = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.drop(self.out(read.transpose(1, 2).reshape(n, t, d)))
        return x + self.drop(self.mlp(self.norms[1](x))), weights


class FusionTransformer(nn.Module):
    """Layers over joined tokens; the last one's attention is part of the answer.

    Args:
        dim: Length of a token.
        layers: How many.
        heads: Attention heads.
        hidden: Width of the small nets; four times `dim` when 0.
        dropout: See `FusionLayer`.
    """

    def __init__(self, dim: int, layers: int, heads: int = 4, hidden: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(dim, heads, hidden or 4 * dim, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """`(n, t, dim)` tokens and `(n, t)` which are real to `(n, t, dim)` and the last layer's `(n, t, t)`."""
        weights: Tensor | None = None
        for i, layer in enumerate(self.layers):
            tokens, weights = layer(tokens, real, show=i == len(self.layers) - 1)
        assert weights is not None  # noqa: S101 # for the type checker: there is at least one layer, and it shows
        return self.norm(tokens), weights
