"""Regions of a picture that nobody named: granules of like brightness, cleaned as IMIS-Bench cleans its dense masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter, label

#: Regions below this share of the picture are dropped (IMIS-Bench).
SMALLEST = 0.0005


def granules(picture: npt.NDArray[np.uint8], levels: int = 4, most: int = 12) -> npt.NDArray[np.int64]:
    """`(h, w)` numbers of regions, the largest first, 0 where there is none.

    The picture is smoothed and cut at quantiles of its brightness; each connected piece of a level is opened, closed
    and kept if it is neither a speck nor most of the picture. No model is asked, so nothing it knows can leak in.

    Args:
        picture: `(3, h, w)` or `(h, w)` 8-bit values.
        levels: Levels of brightness.
        most: Regions to keep.
    """
    grey = gaussian_filter(np.asarray(picture, np.float64).reshape(-1, *picture.shape[-2:]).mean(0), 1.5)
    cuts = np.quantile(grey, np.arange(1, levels) / levels)
    level = np.searchsorted(cuts, grey)
    pieces: list[npt.NDArray[np.bool_]] = []
    cross = np.ones((3, 3), bool)
    for k in range(levels):
        inside = binary_closing(binary_opening(level == k, cross), cross)
        numbered, n = label(inside)
        sizes = np.bincount(numbered.ravel(), minlength=n + 1)
        wanted = [i for i in range(1, n + 1) if SMALLEST <= sizes[i] / grey.size <= 0.5]
        pieces += [numbered == i for i in wanted]
    pieces.sort(key=lambda p: -int(p.sum()))
    out = np.zeros(grey.shape, np.int64)
    for number, piece in enumerate(pieces[:most], 1):
        out[piece] = number
    return out
