"""A cheap stand-in for a classifier: logistic regression on small grey pixels, trained in under a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow

from vesalius.audit.inputs import display
from vesalius.audit.probe import Probe, fit_probe
from vesalius.cases import Case, Image

__all__ = ["PixelProbe"]


@dataclass(frozen=True, eq=False)
class PixelProbe:
    """One class; features are the pixels of a `side` x `side` thumbnail (colour kept)."""

    target: str
    probe: Probe
    side: int = 16
    name: str = "logistic regression on pixels"

    @property
    def classes(self) -> tuple[str, ...]:
        """The one class."""
        return (self.target,)

    def embed(self, images: Sequence[Image]) -> Any:
        """Thumbnails as vectors."""
        return np.stack([_small(i, self.side) for i in images])

    def predict_proba(self, images: Sequence[Image]) -> Any:
        """`(n, 1)` probabilities."""
        return self.probe.predict(self.embed(images))[:, None]

    @classmethod
    def train(cls, cases: Iterable[Case], target: str, *, side: int = 16, ridge: float = 50.0) -> PixelProbe:
        """Fit on the first image of every case whose label is 0 or 1."""
        kept = [c for c in cases if c.label(target) in (0, 1)]
        x = np.stack([_small(c.images[0], side) for c in kept])
        return cls(target, fit_probe(x, [c.label(target) for c in kept], ridge), side)


def _small(image: Image, side: int) -> Any:
    picture = Pillow.fromarray(display(image).squeeze())
    return np.asarray(picture.resize((side, side), Pillow.Resampling.BOX), dtype=np.float64).ravel() / 255
