"""A few strided convolutions: the small picture reader where a task needs no more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


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
