"""Reading a label off pictures from which an organ, or all but it, was removed: random filters and a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation

from vesalius.audit.masks import Mode
from vesalius.audit.probe import fit_probe
from vesalius.audit.shortcuts import mask_scores
from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.nn.random_conv import RandomConvClassifier
from vesalius.systems.frame.inputs import area, pictures
from vesalius.systems.frame.nets.picture_classifier import PictureModel

#: Side of the pictures, and strength of the head's penalty.
SIDE, RIDGE = 64, 10.0
#: Truth and out-of-fold scores, by training mode and test mode.
Readings = dict[tuple[str, str], tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]]


class FilterModel(PictureModel):
    """Fixed random filters with a linear head, for two classes."""

    net: RandomConvClassifier
    system: ClassVar[str]

    def build(self) -> RandomConvClassifier:
        """Filters and head."""
        return RandomConvClassifier()

    def fit(self, cases: Sequence[Case], y: npt.NDArray[np.bool_]) -> Self:
        """Fit the head on whole pictures; the model itself comes back."""
        probe = fit_probe(_features(pictures((c.images[0] for c in cases), SIDE)), y, RIDGE)
        weight = probe.weight / probe.scale
        with torch.no_grad():
            self.net.head.weight.copy_(torch.from_numpy(weight)[None])
            self.net.head.bias.fill_(float(probe.bias - weight @ probe.mean))
        return self


def clear_of_border(cases: Sequence[Case], organ: Sequence[str], margin: int = 2) -> list[Case]:
    """Cases with the organ's mask, and it at least `margin` of `SIDE` pixels away from every border of the picture.

    Organs that are cut off by the border leave the control nothing outside to read: over all 83 films of covid-cc-by
    the common area is the whole picture, and the first reported figure, .48, was that of black pictures. The films were
    narrowed after that was seen, and the margin by what it leaves (38 films, a sixth of the picture), not by any AUROC.
    """
    inner = slice(margin, SIDE - margin)
    masks = [(c, area(c, organ, SIDE)) for c in cases]
    return [c for c, m in masks if m.any() and m[inner, inner].sum() == m.sum()]


def read_masked(
    cases: Sequence[Case],
    organ: Sequence[str],
    y: npt.NDArray[np.bool_],
    *,
    grow: Sequence[int] | None = None,
    modes: Sequence[Mode] = ("full", "no-roi", "only-roi", "outline", "no-fixed"),
    seed: int = 0,
) -> Readings:
    """Train and test in each mode, five folds by patient.

    Args:
        cases: Cases with masks of the organ.
        organ: Labels of those masks.
        y: `(n,)` what is to be read.
        grow: Pixels by which each case's mask is grown; the picture stays.
        modes: What is removed (`audit.masks`).
        seed: Seed of the folds.

    Raises:
        BadInputError: The organs together cover the whole picture, so that the control would see nothing.
    """
    grey = pictures((c.images[0] for c in cases), SIDE).mean(1).astype(np.uint8)
    regions = [area(c, organ, SIDE) for c in cases]
    if grow is not None:
        regions = [binary_dilation(r, iterations=g) if g else r for r, g in zip(regions, grow, strict=True)]
    groups = [c.group for c in cases]
    scores = mask_scores(list(grey), regions, y, _features, patients=groups, modes=modes, ridge=RIDGE, seed=seed)
    if missing := [m for m in modes if (m, m) not in scores]:
        raise BadInputError(
            "the control cannot be run", item=", ".join(missing), why="the organs together cover the whole picture",
            fix="leave out pictures whose organ is cut off by the border",
        )  # fmt: skip
    return {pair: (y, score) for pair, score in scores.items()}


@torch.inference_mode()
def _features(images: Any) -> npt.NDArray[np.float64]:
    """Of `(n, 3, h, w)` or `(n, h, w)` 8-bit pictures."""
    x = torch.from_numpy(np.stack(images))
    out: npt.NDArray[np.float64] = RandomConvClassifier().read(x if x.ndim == 4 else x[:, None]).double().numpy()
    return out
