"""A few strided convolutions: the small picture reader where a task needs no more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


def conv_stack(c_in: int, widths: Sequence[int], groups: int = 8) -> nn.Sequential:
    """3x3 convolutions that halve the map, each with a group norm and ReLU: `(n, c_in, H, W)` to `(n, C, H', W')`.

    Args:
        c_in: Channels of the picture.
        widths: Channels after each convolution, multiples of `groups`.
        groups: Groups of the norms, which, unlike batch norms, treat a picture alike whatever its batch holds.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((c_in, *widths)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(groups, after), nn.ReLU()]
    return nn.Sequential(*layers)


class ConvNet(nn.Module):
    """A `conv_stack`, averaged over places, and a linear head.

    Args:
        classes: Number of classes.
        widths: Channels after each convolution.
    """

    def __init__(self, classes: int, widths: Sequence[int] = (32, 64, 128)) -> None:
        super().__init__()
        self.stack = conv_stack(3, widths)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, H, W)` 8-bit values (as uint8 or float in [0, 255]) to `(n, classes)` logits."""
        out: Tensor = self.head(self.stack(pixels.float() / 127.5 - 1).mean((2, 3)))
        return out
