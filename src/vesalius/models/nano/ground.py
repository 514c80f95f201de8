"""A box head on nano's frozen pyramid: boxes, scores and heat for phrases; stored as one small file beside the model.

The score of a box is the probability that the picture shows what the phrase names, learned with as many absent as
present phrases. A box is always given; below a score of a half read it as "not here".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vesalius.cases import Box, Image
from vesalius.errors import BadInputError
from vesalius.losses.boxes import corners
from vesalius.models.backbone import Backbone
from vesalius.models.nano.head_tower import tower_of
from vesalius.models.preprocess import U8, display_view
from vesalius.models.protocols import Grounding
from vesalius.nn.grounding import Grounded, GroundNet

#: The head's file in a nano model folder. Heads do not change vectors, so they are no part of nano's fingerprint.
FILE = "head-ground.safetensors"


def maps_of(base: Backbone, pictures: Sequence[U8]) -> tuple[Tensor, Tensor]:
    """Frozen maps at strides 16 and 32 of pictures of any size, `(n, 112, 14, 14)` and `(n, 1280, 7, 7)`, float16.

    Half precision changes boxes by less than a hundredth of a pixel, and a training set of maps fits in memory.
    """
    fine, coarse = [], []
    for start in range(0, len(pictures), base.batch_size):
        views = [base.preprocess(Image(array=p)) for p in pictures[start : start + base.batch_size]]
        pyramid = base.patches(np.concatenate(views))
        fine.append(pyramid.stages[3].half())
        coarse.append(pyramid.tokens.half())
    return torch.cat(fine).contiguous(), torch.cat(coarse).contiguous()


def words_of(base: Backbone, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
    """`(n, t, 384)` states of each phrase's tokens from the locked text tower, and which are real."""
    states, real = base.text_tower.states(phrases)
    return states, real.bool()


@torch.inference_mode()
def ground_picture(base: Backbone, net: GroundNet, picture: U8, phrases: Sequence[str]) -> list[Grounding]:
    """Ground phrases in one `(H, W, 3)` picture; boxes in its pixels, clipped to it."""
    if not phrases:
        return []
    fine, coarse = (m.float() for m in maps_of(base, [picture]))
    out = run_net(net, fine, coarse, *words_of(base, phrases))
    height, width = picture.shape[:2]
    boxes = corners(out.box).clamp(0, 1).double().cpu().numpy() * (width, height, width, height)
    heat = out.heat.view(-1, net.grid, net.grid).float().cpu().numpy()
    scores = out.there.double().sigmoid().cpu().numpy()
    return [
        Grounding(phrase, (Box(*map(float, box)),), (float(score),), weight)
        for phrase, box, score, weight in zip(phrases, boxes, scores, heat, strict=True)
    ]


def run_net(net: GroundNet, fine: Tensor, coarse: Tensor, words: Tensor, real: Tensor) -> Grounded:
    """The net for each phrase; one picture stands for all phrases."""
    n = len(words)
    out: Grounded = net(fine.expand(n, -1, -1, -1), coarse.expand(n, -1, -1, -1), words, real)
    return out


class GroundHead:
    """The stored head.

    Args:
        net: The net, in evaluation mode.
        config: Arguments of `GroundNet`, and `base_fingerprint` of the tower whose maps it reads.
        tower: The heads' own tower, where it is not the model's.
    """

    def __init__(self, net: GroundNet, config: Mapping[str, Any], tower: Backbone | None = None) -> None:
        self.net, self.config, self.tower = net.eval().requires_grad_(False), dict(config), tower

    def ground(self, base: Backbone, image: Image, phrases: Sequence[str], index: int | None = None) -> list[Grounding]:
        """One answer a phrase; of a volume or video in slice `index` (the middle one when not said)."""
        return ground_picture(self.tower or base, self.net, display_view(image, index), phrases)

    def save(self, path: Path) -> None:
        """Write weights in half precision, with the config in the file's header."""
        weights = {k: v.detach().half().cpu().contiguous().clone() for k, v in self.net.state_dict().items()}
        save_file(weights, path, {"config": json.dumps(self.config, sort_keys=True)})
        path.chmod(0o644)  # safetensors writes for the owner alone

    @classmethod
    def load(cls, path: Path, base: Backbone) -> GroundHead:
        """Read a head that `save` wrote, on the heads' own tower where one lies beside it.

        Raises:
            BadInputError: It is no head, or was trained on another nano.
        """
        try:
            tower = tower_of(path.parent, base)
            with safe_open(path, "pt") as file:
                config = json.loads((file.metadata() or {})["config"])
            net = GroundNet(**config["net"])
            net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadInputError("cannot read box head", item=str(path), why=str(error)[:300]) from error
        if config.get("base_fingerprint") != tower.fingerprint:
            raise BadInputError(
                "box head was trained on another nano", item=str(path), fix="train the head again on this one"
            )
        return cls(net.to(base.device), config, tower)
