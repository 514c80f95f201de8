"""A classifier that takes whatever a case has of image and table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vesalius.cases import Case, Image
from vesalius.systems.classify.three_mt.net import TableImageNet
from vesalius.systems.frame.inputs import pictures
from vesalius.systems.frame.model import ClassifierModel, Floats

SIDE = 64
#: Pictures and tables.
Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class ThreeMTModel(ClassifierModel):
    """Takes whatever a case has of image and table."""

    system: ClassVar[str] = "3mt"
    net: TableImageNet

    def build(self) -> nn.Module:
        """The net for the config's table."""
        return TableImageNet(len(self.config["table"]), len(self.config["classes"]))

    @property
    def zeros(self) -> bool:
        """Whether missing inputs are read as zeros: the ablation."""
        return bool(self.config["zeros"])

    def predict_cases(self, cases: Sequence[Case]) -> Floats:
        """`(n, classes)` probabilities from each case's first image and table; the prevalence where it has neither."""
        return self.predict_arrays(*arrays_of(cases, self.config))

    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities from images alone."""
        return self.predict_cases([Case(str(i), images=(image,)) for i, image in enumerate(images)])

    @torch.inference_mode()
    def predict_arrays(
        self, pixels: npt.NDArray[np.float32], values: npt.NDArray[np.float32], order: Sequence[int] = (0, 1)
    ) -> Floats:
        """As `predict_cases`, from the arrays of `arrays_of`, with the stages in another order if wanted."""
        out = np.empty((len(pixels), len(self.classes)))
        for start in range(0, len(pixels), 256):
            part = slice(start, start + 256)
            x, v = (torch.from_numpy(a[part]).to(self.device) for a in (pixels, values))
            logits, ran = self.net(x, v, order, self.zeros)
            last = torch.full((len(x),), -1, device=self.device)
            for k in order:
                last = torch.where(ran[:, k], k, last)
            chosen = logits[torch.arange(len(x)), last.clamp(min=0)].double().softmax(1)
            prior = torch.tensor(self.config["prior"], dtype=torch.float64, device=self.device)
            out[part] = torch.where((last >= 0)[:, None], chosen, prior).cpu().numpy()
        return out


def arrays_of(cases: Sequence[Case], config: Mapping[str, Any]) -> Arrays:
    """Pictures `(n, 1, SIDE, SIDE)` and standardised tables `(n, features)`, NaN where something is missing."""
    pixels = np.full((len(cases), 1, SIDE, SIDE), np.nan, np.float32)
    having = [i for i, c in enumerate(cases) if c.images]
    if having:
        pixels[having, 0] = pictures((cases[i].images[0] for i in having), SIDE).mean(1) / 255
    values = np.asarray([[number(c.attributes.get(k)) for k in config["table"]] for c in cases], np.float32)
    values = values.reshape(len(cases), len(config["table"]))
    scaled = (values - np.asarray(config["mean"], np.float32)) / np.asarray(config["std"], np.float32)
    return pixels, scaled.astype(np.float32)


def number(value: object) -> float:
    """A number of a table; NaN where there is none."""
    return float(value) if isinstance(value, int | float) else math.nan
