"""A coarse map of weights laid over a picture, so that the picture stays readable under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from vesalius.errors import UsageError

#: Okabe and Ito's vermilion: bright on grey, and on the pinks of stains and skin still another hue.
COLOUR = (213, 94, 0)
#: Share of the colour where the weight is largest.
STRONGEST = 0.65


def draw_heat(display_rgb: npt.NDArray[np.uint8], heat: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A copy of the picture, tinted the more the larger the weight.

    Args:
        display_rgb: `(H, W, 3)`, what a screen shows.
        heat: `(h, w)` weights >= 0 of the cells of a grid over the whole picture; the largest gets the full tint, and a
            map of zeros tints nothing.

    Returns:
        `(H, W, 3)`.

    Raises:
        UsageError: The picture is not RGB bytes, or the map is not a finite grid.
    """
    if display_rgb.ndim != 3 or display_rgb.shape[-1] != 3 or display_rgb.dtype != np.uint8:
        raise UsageError("a heat map needs an RGB picture", why=f"{display_rgb.dtype} of shape {display_rgb.shape}")
    if heat.ndim != 2 or not np.isfinite(heat).all():
        raise UsageError("a heat map is a finite grid", why=f"shape {heat.shape}")
    height, width = display_rgb.shape[:2]
    share = np.clip(heat, 0, None) / max(float(heat.max()), 1e-12)
    grid = Image.fromarray(share.astype(np.float32))
    alpha = np.clip(np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)), 0, 1)[..., None] * STRONGEST
    mixed = (1 - alpha) * display_rgb + alpha * np.asarray(COLOUR, np.float32)
    return np.asarray(np.rint(mixed), np.uint8)
