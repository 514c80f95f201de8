"""TinyViT (Wu et al., arXiv 2207.10666) as the image encoder of a promptable segmenter: four stages and a SAM neck.

The variant of LiteMedSAM keeps a small picture fine: nothing is halved before the first stage, and a map at a quarter
of the picture's side comes out. Batch norms stand folded into the convolutions before them (`fold`): the encoder is
frozen, and a pass takes a fifth less time.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Of LiteMedSAM: channels, blocks, heads and window of each stage.
DIMS, DEPTHS, HEADS, WINDOWS = (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7)
#: Stages after which the map is halved.
HALVED = (True, True, False)
#: Channels of the map that comes out, and how many of the picture's pixels one of its cells spans.
OUT, STRIDE = 256, 4


class InvertedBottleneck(nn.Module):
    """Widen, look around, narrow, add (MBConv without squeeze and excitation)."""

    def __init__(self, dim: int, expand: int = 4) -> None:
        super().__init__()
        wide = dim * expand
        self.conv1 = nn.Conv2d(dim, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = nn.Conv2d(wide, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, dim, h, w)` to the same."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Merge(nn.Module):
    """Other channels, and half of the side where `stride` is 2."""

    def __init__(self, dim: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, out, 1)
        self.conv2 = nn.Conv2d(out, out, 3, stride, 1, groups=out)
        self.conv3 = nn.Conv2d(out, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, dim, h, w)` to `(n, out, h / stride, w / stride)`."""
        out: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return out


class WindowAttention(nn.Module):
    """Attention within a window, with a learned bias for each distance `(|dy|, |dx|)` and head."""

    index: Tensor

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.proj = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        y, x = (a.flatten() for a in torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
        away = (y[:, None] - y[None]).abs() * window + (x[:, None] - x[None]).abs()
        self.register_buffer("index", away, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(windows, window ** 2, dim)` to the same."""
        # Each head's query, key and value lie side by side.
        parts = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.index][None]
        read = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=bias)
        out: Tensor = self.proj(read.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Norm, widen, narrow."""

    def __init__(self, dim: int, expand: int = 4) -> None:
        super().__init__()
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(dim), nn.Linear(dim, dim * expand), nn.Linear(dim * expand, dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., dim)` to the same."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class Block(nn.Module):
    """Attention in windows, a depthwise convolution that lets windows see each other, a perceptron."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn, self.mlp = WindowAttention(dim, heads, window), Mlp(dim)
        self.local_conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, dim, h, w)` to the same; the last windows are filled up with zeros."""
        n, dim, h, w = x.shape
        s = self.window
        rows, columns = -(-h // s), -(-w // s)
        filled = F.pad(x.movedim(1, -1), (0, 0, 0, columns * s - w, 0, rows * s - h))
        windows = filled.view(n, rows, s, columns, s, dim).transpose(2, 3).reshape(-1, s * s, dim)
        read = self.attn(windows).view(n, rows, columns, s, s, dim).transpose(2, 3)
        x = x + read.reshape(n, rows * s, columns * s, dim)[:, :h, :w].movedim(-1, 1)
        x = self.local_conv(x)
        out: Tensor = x + self.mlp(x.movedim(1, -1)).movedim(-1, 1)
        return out


class Stage(nn.Module):
    """Blocks, then a merge where another stage follows."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample if downsample is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """A map to the next stage's map."""
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.downsample(x)
        return out


class MapNorm(nn.Module):
    """Layer norm over the channels of a map, with SAM's epsilon."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` to the same."""
        return F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, 1e-6).movedim(-1, 1)


class TinyViT(nn.Module):
    """The encoder; parameters bear the names of the published checkpoint after `fold`."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict(
            {"seq": nn.ModuleDict({"0": nn.Conv2d(3, DIMS[0] // 2, 1), "2": nn.Conv2d(DIMS[0] // 2, DIMS[0], 1)})}
        )
        merges = [Merge(a, b, 2 if half else 1) for a, b, half in zip(DIMS, DIMS[1:], HALVED, strict=False)]
        first = Stage([InvertedBottleneck(DIMS[0]) for _ in range(DEPTHS[0])], merges[0])
        rest = [
            Stage([Block(DIMS[i], HEADS[i], WINDOWS[i]) for _ in range(DEPTHS[i])], merges[i] if i < 3 else None)
            for i in range(1, 4)
        ]
        self.layers = nn.ModuleList([first, *rest])
        self.neck = nn.Sequential(
            nn.Conv2d(DIMS[3], OUT, 1, bias=False), MapNorm(OUT),
            nn.Conv2d(OUT, OUT, 3, padding=1, bias=False), MapNorm(OUT),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` values in [0, 1] to `(n, OUT, h / STRIDE, w / STRIDE)`."""
        embed: nn.ModuleDict = self.patch_embed["seq"]  # type: ignore[assignment] # as built above
        x = embed["2"](F.gelu(embed["0"](pixels.contiguous(memory_format=torch.channels_last))))
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.neck(x)
        return out


def fold(state: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """Put each batch norm (`X.bn.*`) into the convolution before it (`X.c.weight`): `X.weight` and `X.bias`.

    `y = g (W x - m) / sqrt(v + eps) + b` is a convolution with `W g / sqrt(v + eps)` and `b - m g / sqrt(v + eps)`.

    Args:
        state: Tensors of the published checkpoint, names without its prefix.
        eps: Of the batch norms.
    """
    out = {}
    for name, tensor in state.items():
        stem, _, leaf = name.rpartition(".")
        if stem.endswith(".bn"):
            continue
        if not stem.endswith(".c"):
            out[name] = tensor
            continue
        stem = stem.removesuffix(".c")
        weight, bias, mean, var = (
            state[f"{stem}.bn.{k}"].double() for k in ("weight", "bias", "running_mean", "running_var")
        )
        factor = weight / (var + eps).sqrt()
        out[f"{stem}.{leaf}"] = (tensor.double() * factor[:, None, None, None]).float()
        out[f"{stem}.bias"] = (bias - mean * factor).float()
    return out
