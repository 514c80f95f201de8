"""A segmenter without a network: what is brighter than half within the box, or around the first click."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from vesalius.cases import Image
from vesalius.models.protocols import Prompt, Segmentation


@dataclass
class Encoded:
    picture: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[0], self.picture.shape[1]

    def to_tensors(self) -> dict[str, np.ndarray]:
        return {"picture": self.picture}


@dataclass
class FakeSegmenter:
    """Counts what it is asked; `score` gives the score of a mask."""

    name: str = "fake"
    fingerprint: str = "f" * 64
    score: Any = lambda mask: 0.9
    encoded: list[int] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)

    def encode(self, image: Image, index: int = 0) -> Encoded:
        self.encoded.append(index)
        array = image.pixels()
        plane = array if image.kind == "2d" else array[index]
        plane = plane if plane.ndim == 2 else plane.mean(axis=-1)
        return Encoded(plane.astype(np.float32))

    def restore(self, tensors: Mapping[str, np.ndarray], size: tuple[int, int]) -> Encoded:
        assert tensors["picture"].shape == size
        return Encoded(tensors["picture"])

    def segment(self, encoded: Encoded, prompt: Prompt) -> Segmentation:
        self.prompts.append(prompt)
        bright = encoded.picture > encoded.picture.max() / 2 if encoded.picture.max() > 0 else encoded.picture > 0
        if prompt.box is not None:
            window = np.zeros_like(bright)
            b = prompt.box
            window[int(b.y0) : int(np.ceil(b.y1)), int(b.x0) : int(np.ceil(b.x1))] = True
            bright &= window
        elif prompt.points:
            parts, _ = ndimage.label(bright)
            x, y, _ = prompt.points[0]
            bright = (parts == parts[int(y), int(x)]) & bright
        logits = np.where(bright[::4, ::4], 4.0, -4.0).astype(np.float32)
        return Segmentation(bright, logits, float(self.score(bright)))
