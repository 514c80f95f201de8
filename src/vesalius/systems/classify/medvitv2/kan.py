"""FasterKAN: a layer of learned one-dimensional functions, as bumps at fixed knots and one matrix.

The bump is the reflectional switch `1 - tanh((x - g) / h)^2` (Delis, "FasterKAN", 2024; arXiv 2405.06721 for the idea
with Gaussian bumps), on inputs that a layer norm keeps within reach of the knots. There is no branch beside the bumps:
that is how MedViTV2 (arXiv 2502.13693) uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FasterKAN(nn.Module):
    """One layer: norm, bumps, matrix without bias.

    Args:
        c_in: Length of the input.
        c_out: Length of the output.
        knots: Number of bumps for each input.
        reach: The knots are spread evenly over `[-reach, reach]`.
        width: Width `h` of a bump.
    """

    knots: Tensor

    def __init__(self, c_in: int, c_out: int, knots: int = 8, reach: float = 2.0, width: float = 0.33) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c_in)
        self.register_buffer("knots", torch.linspace(-reach, reach, knots))
        self.width = width
        self.linear = nn.Linear(c_in * knots, c_out, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., c_in)` to `(..., c_out)`."""
        bumps = 1 - torch.tanh((self.norm(x)[..., None] - self.knots) / self.width).square()
        out: Tensor = self.linear(bumps.flatten(-2))
        return out


class ChannelKAN(nn.Module):
    """Two KAN layers over the channels of each place of a map: a feed-forward net without an activation.

    Args:
        channels: Channels in and out.
        ratio: Width in between, in channels.
    """

    def __init__(self, channels: int, ratio: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(FasterKAN(channels, ratio * channels), FasterKAN(ratio * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, C, H, W)` to the same."""
        return _by_place(self.layers, x)


class ChannelMLP(nn.Module):
    """Two 1x1 layers with a GELU between, as wide as makes it cost what a `ChannelKAN` of the same channels costs.

    A KAN of `[C, rC, C]` with 8 knots has `16 r C^2` weights, an MLP with `h` hidden units `2 h C`: `h = 8 r C`.
    """

    def __init__(self, channels: int, ratio: int = 2, knots: int = 8) -> None:
        super().__init__()
        hidden = knots * ratio * channels
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, C, H, W)` to the same."""
        return _by_place(self.layers, x)


def _by_place(layers: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = layers(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return out
