"""Two streams that read each other: each layer attends to itself, then to the other stream as it was a layer before.

After the fusion of METER (Dou et al., CVPR 2022), which PTUnifier uses. Both streams read the *previous* layer's other
stream, so neither sees what the other has just written and their order does not matter.
"""

from __future__ import annotations

from torch import Tensor, nn


class _Stream(nn.Module):
    """One stream's half of a layer; norms come before, which trains without a long warm-up."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.own = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.cross = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, x_real: Tensor, other: Tensor, other_real: Tensor) -> Tensor:
        q = self.norms[0](x)
        x = x + self.own(q, q, q, key_padding_mask=~x_real, need_weights=False)[0]
        q, k = self.norms[1](x), self.norms[2](other)
        x = x + self.cross(q, k, k, key_padding_mask=~other_real, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norms[3](x))
        return out


class CoAttention(nn.Module):
    """The stack.

    Args:
        dim: Length of a token.
        layers: How many.
        heads: Attention heads.
    """

    def __init__(self, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(_Stream(dim, heads) for _ in range(layers))
        self.second = nn.ModuleList(_Stream(dim, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, a: Tensor, a_real: Tensor, b: Tensor, b_real: Tensor) -> tuple[Tensor, Tensor]:
        """Both streams after the last layer, normalised.

        Args:
            a: `(n, s, dim)` first stream.
            a_real: `(n, s)` True where a token may be read; each row has one.
            b: `(n, t, dim)` second stream.
            b_real: `(n, t)`.
        """
        for one, two in zip(self.first, self.second, strict=True):
            a, b = one(a, a_real, b, b_real), two(b, b_real, a, a_real)
        return self.norms[0](a), self.norms[1](b)
