"""An embedder made of a frozen one and a trained adapter on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from vesalius.cases import Image
from vesalius.models.embedding import TowerEmbedder
from vesalius.models.protocols import AnyArray, FloatArray
from vesalius.systems.frame.frozen import tower_of, vectors
from vesalius.systems.frame.model import SystemModel
from vesalius.training.two_tower import Aligner


class AdaptedModel(SystemModel, TowerEmbedder):
    """An embedder: the frozen one below it, then the adapters."""

    capabilities: ClassVar[tuple[str, ...]] = ("embed", "text")
    net: Aligner

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base = tower_of(config, device)
        SystemModel.__init__(self, config, device)
        TowerEmbedder.__init__(self, self.system, "", config["dim"], self.base.preprocess)

    @property
    def scale(self) -> float:
        """Inverse temperature of the trained softmax."""
        return float(self.net.scale.detach())

    def build(self) -> Aligner:
        """Two adapters and a temperature."""
        return Aligner(self.base.dim, self.base.dim, self.config["dim"])

    @torch.inference_mode()
    def adapt(self, below: FloatArray) -> FloatArray:
        """`(n, dim)` unit vectors from those of the embedder below."""
        out: FloatArray = self.net.image(torch.from_numpy(below).to(self.device)).cpu().numpy()
        return out

    def embed_kept(self, images: Sequence[Image]) -> FloatArray:
        """As `embed`, with the vectors of the embedder below computed once in a process."""
        return self.adapt(vectors(images, self.base))

    def _forward_views(self, views: AnyArray) -> FloatArray:
        return self.adapt(self.base.embed_views([v[None] for v in views]))

    @torch.inference_mode()
    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        below = torch.from_numpy(np.asarray(self.base.embed_text(texts))).to(self.device)
        out: FloatArray = self.net.text(below).cpu().numpy()
        return out
