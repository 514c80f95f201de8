"""A tower that heads keep for themselves when the one that gives vectors is trained again.

A picture is encoded for boxes or masks in a pass of its own, so one tower for vectors and heads saves little, and a new
tower for vectors leaves boxes and masks as they were measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vesalius.models.backbone import Backbone
from vesalius.models.manifest import sha256
from vesalius.models.protocols import AnyArray
from vesalius.nn.efficientnet import EfficientNetLite0, Pyramid

#: The tower's file in a nano model folder; it changes no vector.
FILE = "head-tower.safetensors"


class HeadTower:
    """The heads' own image tower, with everything else of the model it lies beside.

    Args:
        path: The tower's weights, half precision.
        base: The model; its text tower and preprocessing are used.
    """

    def __init__(self, path: Path, base: Backbone) -> None:
        self.net = EfficientNetLite0()
        self.net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        self.net.eval().requires_grad_(False).to(base.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
        self.base, self.device, self.batch_size = base, base.device, base.batch_size
        self.name, self.fingerprint, self.preprocess = base.name, sha256(path), base.preprocess

    @property
    def text_tower(self) -> Any:
        """The model's own."""
        return self.base.text_tower

    @torch.inference_mode()
    def patches(self, views: AnyArray) -> Pyramid:
        """Feature maps of `(n, 3, H, W)` 8-bit views."""
        return self.net.pyramid(torch.from_numpy(views).to(self.device))


def tower_of(folder: Path, base: Backbone) -> Backbone:
    """What the heads of a model folder stand on: their own tower where the folder has one, else the model."""
    path = folder / FILE
    return HeadTower(path, base) if path.is_file() else base
