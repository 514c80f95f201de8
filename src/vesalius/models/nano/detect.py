"""Every instance of what a phrase names, as boxes with scores: a dense head on nano's frozen pyramid.

The head knows of each name it was taught whether its boxes beat a box that does not look (the mean box of that name) on
validation cases. Where they do not, and for words that it was never taught, no box is given: only a heat map of where
nano's own patches agree with the words, which is weak.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vesalius.cases import Box, Image
from vesalius.errors import BadInputError
from vesalius.losses.boxes import overlap
from vesalius.models.backbone import Backbone
from vesalius.models.preprocess import U8, ViewPreprocess, display_view
from vesalius.models.protocols import FloatArray, Grounding
from vesalius.nn.dense_boxes import DenseBoxes

if TYPE_CHECKING:
    from vesalius.models.nano.model import Nano

#: The head's file in a nano model folder. Heads do not change vectors, so they are no part of nano's fingerprint.
FILE = "head-boxes.safetensors"
#: Its figures, beside it.
FIGURES = "head-boxes.json"
#: Side of the square that pictures are squeezed to: cells of a smear are too small for nano's own 224.
SIDE = 320
#: Cosine similarity of sentence vectors from which a phrase counts as another wording of a name that was taught.
SAME = 0.8
#: Boxes at most of one phrase, and the overlap (IoU) from which two of them are one.
MOST, TWICE = 300, 0.5


@torch.inference_mode()
def detail_maps(base: Backbone, pictures: Sequence[U8]) -> tuple[Tensor, Tensor, Tensor]:
    """Frozen maps at strides 8, 16 and 32 of pictures of any size, half precision."""
    preprocess = ViewPreprocess(SIDE, SIDE)
    found: list[list[Tensor]] = [[], [], []]
    for start in range(0, len(pictures), base.batch_size):
        views = [preprocess(Image(array=p)) for p in pictures[start : start + base.batch_size]]
        pyramid = base.patches(np.concatenate(views))
        for kept, maps in zip(found, (pyramid.stages[2], pyramid.stages[3], pyramid.tokens), strict=True):
            kept.append(maps.half())
    return torch.cat(found[0]).contiguous(), torch.cat(found[1]).contiguous(), torch.cat(found[2]).contiguous()


class DetectHead:
    """The stored head.

    Args:
        net: The net, in evaluation mode.
        names: `(k, 384)` sentence vectors of every wording that was taught.
        config: `net` (arguments of `DenseBoxes`), `base_fingerprint` (the nano whose maps it reads), `wordings` (the
            name of each row of `names`) and `names` (name to `boxes`, whether they beat the mean box, and `threshold`,
            the score from which an instance counts).
    """

    def __init__(self, net: DenseBoxes, names: Tensor, config: Mapping[str, Any]) -> None:
        self.net, self.names, self.config = net.eval().requires_grad_(False), names, dict(config)

    def known(self, phrase: Tensor) -> Mapping[str, Any] | None:
        """What is known of the taught name that a `(384,)` sentence vector is nearest to; None where none is near."""
        similarity = self.names.to(phrase.device) @ phrase
        best = int(similarity.argmax())
        if float(similarity[best]) < SAME:
            return None
        found: Mapping[str, Any] = self.config["names"][self.config["wordings"][best]]
        return found

    @torch.inference_mode()
    def ground(
        self, base: Nano, image: Image, phrases: Sequence[str], index: int | None = None, *, every: bool = False
    ) -> list[Grounding]:
        """One answer a phrase; of a volume or video in slice `index` (the middle one when not said).

        A name whose boxes did not beat the mean box on validation cases, and words that were never taught, get no box:
        the heat alone says where the picture agrees with them.

        Args:
            base: The nano whose maps are read.
            image: The image.
            phrases: What to find.
            index: Slice of a volume, frame of a video.
            every: Every instance above the name's threshold, with the score of each, and their count; otherwise the
                best box alone, and its score is the probability that the picture shows what is named.
        """
        if not phrases:
            return []
        picture = display_view(image, index)
        fine, middle, coarse = (m.float() for m in detail_maps(base, [picture]))
        fused = self.net.fuse((fine, middle, coarse))
        vectors = torch.from_numpy(base.text_tower(list(phrases))).to(fused.device)
        out = []
        for phrase, vector in zip(phrases, vectors, strict=True):
            known = self.known(vector)
            if known is None or not known["boxes"]:
                out.append(Grounding(phrase, (), (), agreement(base, picture, phrase)))
                continue
            found = self.net(fused, vector[None])
            heat = found.centre[0].double().sigmoid()
            boxes, scores = instances(heat, found.boxes[0].double(), float(known["threshold"]) if every else 0.0)
            if not every:
                boxes, scores = boxes[:1], found.there.double().sigmoid()
            size = boxes.new_tensor([picture.shape[1], picture.shape[0]] * 2)
            cells = boxes.new_tensor([heat.shape[1], heat.shape[0]] * 2)
            rows = tuple(Box(*row) for row in torch.minimum((boxes / cells * size).clamp(min=0), size).tolist())
            count = len(rows) if every else None
            out.append(Grounding(phrase, rows, tuple(scores.tolist()), heat.float().cpu().numpy(), count))
        return out

    def save(self, path: Path) -> None:
        """Write weights in half precision, with the config in the file's header."""
        weights = {k: v.detach().half().cpu().contiguous().clone() for k, v in self.net.state_dict().items()}
        weights["names"] = self.names.half().cpu().contiguous()
        save_file(weights, path, {"config": json.dumps(self.config, sort_keys=True)})
        path.chmod(0o644)  # safetensors writes for the owner alone

    @classmethod
    def load(cls, path: Path, base: Nano) -> DetectHead:
        """Read a head that `save` wrote.

        Raises:
            BadInputError: It is no head, or was trained on another nano.
        """
        try:
            with safe_open(path, "pt") as file:
                config = json.loads((file.metadata() or {})["config"])
            weights = {k: v.float() for k, v in load_file(path).items()}
            names = weights.pop("names")
            net = DenseBoxes(**config["net"])
            net.load_state_dict(weights)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadInputError("cannot read box head", item=str(path), why=str(error)[:300]) from error
        if config.get("base_fingerprint") != base.fingerprint:
            raise BadInputError(
                "box head was trained on another nano", item=str(path), fix="train the head again on this one"
            )
        if len(names) != len(config.get("wordings", ())) or not set(config["wordings"]) <= set(config.get("names", ())):
            raise BadInputError("cannot read box head", item=str(path), why="its names do not fit its words")
        return cls(net.to(base.device), names.to(base.device), config)


def instances(heat: Tensor, boxes: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Boxes of the cells that are the highest among their neighbours, best first, without those found twice.

    Args:
        heat: `(h, w)` probabilities of a centre.
        boxes: `(h, w, 4)`.
        least: Lowest probability; the best is given whatever it is when this is 0.

    Returns:
        `(k, 4)` boxes and `(k,)` probabilities.
    """
    top = F.max_pool2d(heat[None, None], 3, 1, 1)[0, 0]
    found = torch.nonzero((heat == top) & (heat >= least))
    score = heat[found[:, 0], found[:, 1]]
    order = score.argsort(descending=True, stable=True)[:MOST]
    found, score = found[order], score[order]
    chosen = boxes[found[:, 0], found[:, 1]]
    if not len(chosen):
        return chosen, score
    iou, _ = overlap(chosen[:, None], chosen[None])
    stays: list[int] = []
    for i in range(len(chosen)):
        if not stays or bool((iou[i, stays] <= TWICE).all()):
            stays.append(i)
    return chosen[stays], score[stays]


def agreement(base: Nano, picture: U8, phrase: str) -> FloatArray:
    """`(7, 7)` how much more each patch of a picture agrees with a phrase than its others do, summing to 1."""
    cells = base.patch_vectors(base.preprocess(Image(array=picture)))[0]
    similarity = torch.from_numpy(cells @ base.embed_text([phrase])[0]).float()
    side = int(len(cells) ** 0.5)
    return np.asarray((10 * similarity).softmax(0).view(side, side).numpy(), np.float32)
