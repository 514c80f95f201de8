"""MedViTV2: convolution, (dilated) neighbourhood attention and KAN feed-forward in one classifier.

Manzari et al., arXiv 2502.13693. Early blocks are local (LFP: neighbourhood attention, then an inverted residual with
squeeze and excitation), late ones global (GFP: pooled self-attention on three quarters of the channels, grouped
convolution on the rest, then KAN). The released code departs from the paper in three places, and here the paper's
reading is built: channels are permuted, not reshaped, before attention and KAN (`layout="reshaped"` keeps the slip, so
that its price can be measured); every second local block is dilated as far as its map allows; maps need not be square.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.systems.classify.medvitv2.kan import ChannelKAN, ChannelMLP
from vesalius.systems.classify.medvitv2.neighbourhood import NeighbourhoodAttention, widest

HEAD = 32
Layout = Literal["permuted", "reshaped"]
Feed = Literal["kan", "mlp"]


@dataclass(frozen=True)
class Size:
    """Depths and widths of the four stages, and what depends on the picture's size.

    Args:
        depths: Blocks of each stage.
        dims: Channels of each stage.
        drop_path: Largest rate of stochastic depth; it grows linearly with depth.
        stem: Channels of the stem's four convolutions.
        strides: Their strides.
        window: Window of the neighbourhood attention.
    """

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    drop_path: float = 0.1
    stem: tuple[int, int, int, int] = (64, 32, 64, 64)
    strides: tuple[int, int, int, int] = (2, 1, 1, 2)
    window: int = 7


#: The published sizes for 224 px, and one for 32 to 64 px on a laptop, whose window is smaller as its maps are (3 of 8
#: places at 32 px, 7 of 56 at 224), so that there is room for dilation.
SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "laptop": Size((2, 2, 3, 1), (32, 64, 96, 128), 0.05, (32, 16, 32, 32), window=3),
        "tiny": Size((2, 2, 6, 1), (64, 128, 192, 384)),
        "small": Size((2, 2, 6, 2), (64, 128, 256, 512)),
        "base": Size((2, 2, 6, 2), (96, 192, 384, 768), 0.2),
        "large": Size((2, 2, 6, 2), (96, 256, 512, 1024), 0.2),
    }
)
#: Side of the patches over which keys and values are pooled in each stage.
_POOL = (8, 4, 2, 1)


def _is_global(stage: int, i: int, depth: int) -> bool:
    """The last block of the second stage, every third of the third, all of the fourth."""
    return (False, i == depth - 1, i % 3 == 2, True)[stage]


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al. 2016): leave the branch out for some of the batch, scale the others up."""
    if not training or not rate:
        return x
    kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= rate
    return x * kept / (1 - rate)


def _conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)
    )


class PatchEmbed(nn.Module):
    """Halve a map by averaging, and change its width; nothing where neither is asked for."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        halve = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity()
        change = _conv(c_in, c_out) if stride == 2 or c_in != c_out else nn.Identity()
        self.layers = nn.Sequential(halve, change)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c_in, H, W)` to `(n, c_out, ceil(H / stride), ceil(W / stride))`."""
        out: Tensor = self.layers(x)
        return out


class LocalFeedForward(nn.Module):
    """Inverted residual with h-swish and squeeze and excitation, itself a residual branch (LFF)."""

    def __init__(self, channels: int, kernel: int, ratio: int = 3) -> None:
        super().__init__()
        wide = ratio * channels
        self.expand = nn.Sequential(_conv(channels, wide), nn.Hardswish())
        self.depthwise = nn.Sequential(_conv(wide, wide, kernel, groups=wide), nn.Hardswish())
        squeezed = max(wide // channels, 1)  # the published reduction is the number of channels
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, wide, 1),
            nn.Hardsigmoid(),
        )  # fmt: skip
        self.project = _conv(wide, channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, C, H, W)` to the same."""
        y = self.depthwise(self.expand(x))
        out: Tensor = x + self.project(y * self.squeeze(y))
        return out


class LocalBlock(nn.Module):
    """LFP: neighbourhood attention, then the local feed-forward net.

    Args:
        c_in: Channels in.
        c_out: Channels out.
        stride: 2 halves the map first.
        kernel: Of the depthwise convolution.
        window: Of the attention.
        dilated: Whether the window is spread over the whole map.
        rate: Of stochastic depth.
        layout: `reshaped` reads a channels-first map as if it were channels-last, as released.
    """

    def __init__(
        self, c_in: int, c_out: int, stride: int, kernel: int, window: int, dilated: bool, rate: float, layout: Layout
    ) -> None:
        super().__init__()
        self.embed = PatchEmbed(c_in, c_out, stride)
        self.norm, self.attention = nn.BatchNorm2d(c_out), NeighbourhoodAttention(c_out, c_out // HEAD, window)
        self.feed_norm, self.feed = nn.BatchNorm2d(c_out), LocalFeedForward(c_out, kernel)
        self.window, self.dilated, self.rate, self.layout = window, dilated, rate, layout

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c_in, H, W)` to `(n, c_out, H', W')`."""
        x = self.embed(x)
        n, c, h, w = x.shape
        dilation = widest(max(h, w), self.window) if self.dilated else 1
        y = self.norm(x)
        if self.layout == "permuted":
            y = self.attention(y.permute(0, 2, 3, 1), dilation).permute(0, 3, 1, 2)
        else:
            y = self.attention(y.reshape(n, h, w, c), dilation).reshape(n, c, h, w)
        x = x + drop_path(y, self.rate, self.training)
        out: Tensor = x + drop_path(self.feed(self.feed_norm(x)), self.rate, self.training)
        return out


class PooledAttention(nn.Module):
    """E-MHSA: every place asks, keys and values are averaged over patches of `pool` x `pool`."""

    def __init__(self, channels: int, pool: int) -> None:
        super().__init__()
        self.pool, self.heads = pool, channels // HEAD
        self.norm = nn.BatchNorm2d(channels)
        self.q, self.kv, self.out = (nn.Linear(channels, k * channels) for k in (1, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, C, H, W)` to the same."""
        n, c, h, w = x.shape
        x = self.norm(x)
        short = F.avg_pool2d(x, self.pool, ceil_mode=True, count_include_pad=False) if self.pool > 1 else x
        q = self.q(x.flatten(2).transpose(1, 2)).reshape(n, -1, self.heads, HEAD).transpose(1, 2)
        k, v = self.kv(short.flatten(2).transpose(1, 2)).reshape(n, -1, 2, self.heads, HEAD).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        out: Tensor = self.out(read).transpose(1, 2).reshape(n, c, h, w)
        return out


class ConvAttention(nn.Module):
    """MHCA: a 3x3 convolution in groups of one head, then a mixing of the heads."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(channels, channels, 3, groups=channels // HEAD), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(n, C, H, W)` to the same."""
        out: Tensor = self.layers(x)
        return out


class GlobalBlock(nn.Module):
    """GFP: self-attention on most channels, convolution on the rest, then KAN (or an MLP of the same size).

    Args:
        c_in: Channels in.
        c_out: Channels out.
        stride: 2 halves the map first.
        pool: Side of the patches of keys and values.
        rate: Of stochastic depth.
        feed: The feed-forward net.
        layout: As in `LocalBlock`.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, pool: int, rate: float, feed: Feed, layout: Layout) -> None:
        super().__init__()
        # Three quarters, rounded to whole heads as published, but at least one head is left to the convolution.
        self.far = min((int(0.75 * c_out) + HEAD // 2) // HEAD * HEAD, c_out - HEAD)
        near = c_out - self.far
        self.embed = PatchEmbed(c_in, self.far, stride)
        self.attention = PooledAttention(self.far, pool)
        self.project = PatchEmbed(self.far, near, 1)
        self.convolution = ConvAttention(near)
        self.norm = nn.BatchNorm2d(c_out)
        self.feed = ChannelKAN(c_out) if feed == "kan" else ChannelMLP(c_out)
        self.rate, self.layout = rate, layout

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c_in, H, W)` to `(n, c_out, H', W')`."""
        x = self.embed(x)
        x = x + drop_path(self.attention(x), self.rate, self.training)
        near = self.project(x)
        near = near + drop_path(self.convolution(near), self.rate, self.training)
        x = torch.cat([x, near], 1)
        y = self.norm(x)
        if self.layout == "reshaped":
            n, c, h, w = y.shape
            fed = self.feed(y.reshape(n, h, w, c).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(n, c, h, w)
        else:
            fed = self.feed(y)
        out: Tensor = x + drop_path(fed, self.rate, self.training)
        return out


class MedViT(nn.Module):
    """The classifier.

    Args:
        classes: Number of classes.
        size: Name in `SIZES`.
        feed: `kan`, or `mlp` of the same number of weights.
        dilated: Whether every second local block of a stage is dilated.
        layout: `permuted`, or `reshaped` for the slip of the released code.
    """

    def __init__(
        self, classes: int, size: str = "laptop", feed: Feed = "kan", dilated: bool = True, layout: Layout = "permuted"
    ) -> None:
        super().__init__()
        s = SIZES[size]
        stem: list[nn.Module] = []
        for (c_in, c_out), stride in zip(itertools.pairwise((3, *s.stem)), s.strides, strict=True):
            stem += [_conv(c_in, c_out, 3, stride), nn.ReLU()]
        self.stem = nn.Sequential(*stem)
        blocks: list[nn.Module] = []
        channels, total = s.stem[-1], sum(s.depths)
        for stage, (depth, dim) in enumerate(zip(s.depths, s.dims, strict=True)):
            local = 0  # local blocks of this stage so far: every second one is dilated
            for i in range(depth):
                stride, rate = (2 if stage and i == 0 else 1), s.drop_path * len(blocks) / max(total - 1, 1)
                if _is_global(stage, i, depth):
                    blocks.append(GlobalBlock(channels, dim, stride, _POOL[stage], rate, feed, layout))
                else:
                    wide = dilated and local % 2 == 1
                    kernel = 3 if stage else 7
                    blocks.append(LocalBlock(channels, dim, stride, kernel, s.window, wide, rate, layout))
                    local += 1
                channels = dim
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, H, W)` 8-bit values (as uint8 or float in [0, 255]) to `(n, classes)` logits."""
        x = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        out: Tensor = self.head(self.blocks(self.stem(x)))
        return out
