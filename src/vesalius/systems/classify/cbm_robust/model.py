"""A classifier that sees readable signs alone, says which of them made a decision, and can be edited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.protocols import AnyArray
from vesalius.systems.classify.cbm_robust.net import ConceptBottleneck
from vesalius.systems.frame.frozen import kept, middle_views, tower_of, vectors
from vesalius.systems.frame.inputs import pictures
from vesalius.systems.frame.model import ClassifierModel, Floats
from vesalius.training.two_tower import PictureAligner


@dataclass(frozen=True)
class Explanation:
    """Why one image got its class.

    Args:
        label: The class.
        probability: Its probability.
        reasons: (concept, standardised score, share of the logit), largest share first.
    """

    label: str
    probability: float
    reasons: tuple[tuple[str, float, float], ...]


class ConceptModel(ClassifierModel):
    """A dual encoder (frozen, or trained on captions before), concepts, linear head."""

    system: ClassVar[str] = "cbm-robust"
    net: ConceptBottleneck

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base: Any = tower_of(config, device)
        super().__init__(config, device)

    def build(self) -> ConceptBottleneck:
        """The bottleneck for the config's concepts, and the scorer where it is not the frozen one."""
        net = ConceptBottleneck(len(self.config["concepts"]), self.config["dim"], len(self.classes))
        if self.config["scorer"] == "captions":
            net.add_module("scorer", PictureAligner(self.base.dim, self.config["dim"]).requires_grad_(False))
        return net

    @torch.no_grad()
    def vectors(self, images: Sequence[Image]) -> Tensor:
        """What is compared with the concepts: `(n, d)`, or `(n, cells, d)` of each picture's middle view."""
        if self.config["scorer"] == "captions":
            scorer: PictureAligner = self.net.scorer  # type: ignore[assignment] # added by build()
            return scorer.image(torch.from_numpy(grey(images)).to(self.device))
        if not self.config["patches"]:
            return torch.from_numpy(vectors(images, self.base)).to(self.device)
        cells = [self.base.patch_vectors(v[None])[0] for v in middle_views(images, self.base)]
        return torch.from_numpy(np.stack(cells)).to(self.device)

    @torch.no_grad()
    def text_vectors(self, phrases: Sequence[str]) -> Tensor:
        """`(n, d)` what images are compared with."""
        below = torch.from_numpy(self.base.embed_text([self.config["prefix"] + p for p in phrases])).to(self.device)
        scorer: Any = getattr(self.net, "scorer", None)
        return below if scorer is None else scorer.text(below)

    @torch.no_grad()
    def scores(self, images: Sequence[Image]) -> Tensor:
        """`(n, concepts)` standardised scores."""
        return self.net.scores(self.vectors(images))

    @torch.inference_mode()
    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities."""
        out: Floats = self.net(self.scores(images)).double().softmax(1).cpu().numpy()
        return out

    @torch.inference_mode()
    def explain(self, image: Image, most: int = 5, hold: Mapping[str, float] | None = None) -> Explanation:
        """The signs that speak most for or against the class an image gets.

        Args:
            image: The image.
            most: How many signs.
            hold: Intervention: concept to the standardised score that it is held at (0 is the training mean).
        """
        scores = self.scores([image])
        for name, value in (hold or {}).items():
            scores[0, self._place(name)] = value
        p = self.net(scores).double().softmax(1)[0]
        k = int(p.argmax())
        share = self.net.contributions(scores)[0, k]
        order = share.abs().argsort(descending=True, stable=True)[:most].tolist()
        reasons = tuple((self.config["concepts"][i], float(scores[0, i]), float(share[i])) for i in order)
        return Explanation(self.classes[k], float(p[k]), reasons)

    def edit(self, drop: Sequence[str]) -> ConceptModel:
        """A copy of this model that does not use some concepts."""
        made = ConceptModel(self.config, self.device)
        made.net.load_state_dict(self.net.state_dict())
        with torch.no_grad():
            made.net.head.weight[:, [self._place(name) for name in drop]] = 0
        return made

    def _place(self, name: str) -> int:
        if name not in self.config["concepts"]:
            raise UsageError("the model has no such concept", item=name, why=f"it has {self.config['concepts']}")
        return int(self.config["concepts"].index(name))


def grey(images: Sequence[Image]) -> AnyArray:
    """`(n, 1, 64, 64)` grey pictures in [0, 1], decoded once in a process."""

    def compute(part: list[Image]) -> list[AnyArray]:
        return list(pictures(part, PictureAligner.SIDE).mean(1, keepdims=True).astype(np.float32) / 255)

    return np.stack(kept(images, "grey 64", compute))
