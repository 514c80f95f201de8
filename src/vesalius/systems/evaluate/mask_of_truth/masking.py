"""Reading a label off pictures from which an organ, or all but it, was removed: random filters and a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation

from vesalius.audit.masks import Mode
from vesalius.audit.shortcuts import mask_scores
from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.systems.evaluate.mask_of_truth.net import RandomConv
from vesalius.systems.frame.inputs import area, pictures

#: Side of the pictures, and strength of the head's penalty.
SIDE, RIDGE = 64, 10.0
#: Out-of-fold scores, by training mode and test mode.
Scores = dict[tuple[Mode, Mode], npt.NDArray[np.float64]]


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
) -> Scores:
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
    return scores


@torch.inference_mode()
def _features(images: Any) -> npt.NDArray[np.float64]:
    """Of `n` grey 8-bit pictures `(h, w)`."""
    x = torch.from_numpy(np.stack(images))
    out: npt.NDArray[np.float64] = RandomConv()(x[:, None].float() / 255).double().numpy()
    return out
