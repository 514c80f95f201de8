"""EfficientNet-Lite: mobile convolutions with ReLU6 and no squeeze-and-excitation, sized for a laptop.

Architecture: Tan and Le, "EfficientNet", ICML 2019 (arXiv 1905.11946), in the Lite variant of 2020, which replaces
swish by ReLU6, drops squeeze-and-excitation and does not scale the stem and the head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: (repeats, kernel, stride, expansion, channels out) of the seven stages at width and depth 1.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
FEATURES = 1280
#: The published weights expect `(x - 127) / 128` of 8-bit values.
MEAN, SCALE = 127.0, 128.0


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's SAME: output size is `ceil(input / stride)`, the odd pixel goes to the end."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', ceil(H / stride), ceil(W / stride))`."""
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            need = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [need // 2, need - need // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]), self.dilation, self.groups)
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        SameConv2d(c_in, c_out, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if act else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, project; with stochastic depth on the residual path (Huang 2016)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expand: int, drop_path: float) -> None:
        super().__init__()
        wide = c_in * expand
        self.expand = _conv(c_in, wide) if expand != 1 else nn.Identity()
        self.depthwise = _conv(wide, wide, kernel, stride, groups=wide)
        self.project = _conv(wide, c_out, act=False)
        self.residual = stride == 1 and c_in == c_out
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        if not self.residual:
            return y
        if self.training and self.drop_path > 0:
            keep = 1.0 - self.drop_path
            y = y * (torch.rand(len(y), 1, 1, 1, device=y.device) < keep) / keep
        return x + y


@dataclass(frozen=True)
class Pyramid:
    """Feature maps of one forward pass.

    Args:
        stages: Maps at strides 2, 4, 8, 16 (the last block before each halving), channels 16, 24, 40, 112.
        tokens: `(B, 1280, H/32, W/32)`, the map that is pooled into the image's feature.
    """

    stages: tuple[Tensor, Tensor, Tensor, Tensor]
    tokens: Tensor


class EfficientNetLite0(nn.Module):
    """The 0 size: 3.4 M parameters without the ImageNet head, 1280 features, stride 32.

    Args:
        drop_path: Largest stochastic-depth rate; it grows linearly with depth.
    """

    stage_channels = (16, 24, 40, 112)

    def __init__(self, drop_path: float = 0.0) -> None:
        super().__init__()
        self.stem = _conv(3, 32, 3, 2)
        blocks: list[InvertedResidual] = []
        total, channels = sum(s[0] for s in _STAGES), 32
        self._taps: list[int] = []
        for repeats, kernel, stride, expand, out in _STAGES:
            if stride == 2:
                self._taps.append(len(blocks) - 1)
            for i in range(repeats):
                rate = drop_path * len(blocks) / total
                blocks.append(InvertedResidual(channels, out, kernel, stride if i == 0 else 1, expand, rate))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.head = _conv(channels, FEATURES)

    def pyramid(self, pixels: Tensor) -> Pyramid:
        """All maps that decoders use.

        Args:
            pixels: `(B, 3, H, W)` 8-bit values as uint8 or float in [0, 255]; normalised here, so that no caller can
                forget to.
        """
        x = (pixels.float() - MEAN) / SCALE
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        stages = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self._taps:
                stages.append(x)
        return Pyramid((stages[0], stages[1], stages[2], stages[3]), self.head(x))

    def forward(self, pixels: Tensor) -> Tensor:
        """`(B, 3, H, W)` 8-bit values to `(B, 1280)` mean-pooled features."""
        return self.pyramid(pixels).tokens.mean((2, 3))


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of the published PyTorch checkpoint to this module's names (the ImageNet head is left out)."""
    parts = {
        "_expand_conv": "expand.0",
        "_bn0": "expand.1",
        "_depthwise_conv": "depthwise.0",
        "_bn1": "depthwise.1",
        "_project_conv": "project.0",
        "_bn2": "project.1",
    }
    top = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
    out = {}
    for name, tensor in state.items():
        if name.startswith("_fc"):
            continue
        if name.startswith("_blocks."):
            _, index, part, leaf = name.split(".")
            out[f"blocks.{index}.{parts[part]}.{leaf}"] = tensor
        else:
            part, leaf = name.split(".")
            out[f"{top[part]}.{leaf}"] = tensor
    return out
