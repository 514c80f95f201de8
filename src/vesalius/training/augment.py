"""Light augmentation of a batch: geometry in one resampling step, brightness, contrast, gamma, colour, erasing.

A mirrored chest is a different patient (the heart is on the other side, "left" becomes false), so images are mirrored
and turned freely only where the modality has no sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

#: Modalities whose pictures have no up, down, left or right.
FREE = frozenset({"DMS", "GM", "SM"})
#: Modalities that may be mirrored but not turned (the probe is at the top).
MIRROR = frozenset({"US"})
#: Modalities in colour.
COLOUR = frozenset({"DMS", "GM", "SM", "OP", "ES", "XC"})


@dataclass(frozen=True)
class Augmentation:
    """Strengths.

    Args:
        scale: Range of the visible share of each side.
        stretch: Largest log change of the aspect ratio.
        turn: Largest rotation in radians where turning freely is not allowed.
        brightness: Largest relative change of the mean.
        contrast: Range of the factor around the mean.
        gamma: Largest log gamma.
        tint: Range of the factor on each colour channel.
        erase: Share of images that lose a rectangle.
    """

    scale: tuple[float, float] = (0.7, 1.05)
    stretch: float = 0.12
    turn: float = 0.2
    brightness: float = 0.2
    contrast: tuple[float, float] = (0.75, 1.3)
    gamma: float = 0.3
    tint: tuple[float, float] = (0.9, 1.1)
    erase: float = 0.25


def augment(
    images: npt.NDArray[np.uint8],
    modalities: list[str],
    size: int,
    rng: np.random.Generator,
    strength: Augmentation | None = None,
) -> Tensor:
    """Augment one batch.

    Args:
        images: `(n, 3, H, W)` 8-bit.
        modalities: DICOM codes, one an image.
        size: Height and width of the result.
        rng: Source of randomness.
        strength: Strengths; the defaults when None.

    Returns:
        `(n, 3, size, size)` float values in [0, 255].
    """
    s, n = strength or Augmentation(), len(images)
    free = np.asarray([m in FREE for m in modalities])
    mirror = np.asarray([m in FREE or m in MIRROR for m in modalities])
    colour = np.asarray([m in COLOUR for m in modalities])
    scale = rng.uniform(*s.scale, n)
    stretch = np.exp(rng.uniform(-s.stretch, s.stretch, n))
    angle = np.where(free, rng.uniform(-math.pi, math.pi, n), rng.uniform(-s.turn, s.turn, n))
    flip = np.where(mirror & (rng.random(n) < 0.5), -1.0, 1.0)
    room = np.maximum(1 - scale, 0.03)
    shift = rng.uniform(-1, 1, (2, n)) * room
    c, w = np.cos(angle), np.sin(angle)
    theta = np.stack(
        [
            np.stack([c * scale * stretch * flip, -w * scale, shift[0]], 1),
            np.stack([w * scale * stretch * flip, c * scale / stretch, shift[1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(torch.from_numpy(theta).float(), [n, 3, size, size], align_corners=False)
    x = F.grid_sample(torch.from_numpy(images).float(), grid, align_corners=False)

    def each(values: npt.NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.reshape(n, -1, 1, 1)).float()

    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * each(rng.uniform(*s.contrast, n)) + mean * each(1 + rng.uniform(-s.brightness, s.brightness, n))
    x = x * each(np.where(colour[:, None], rng.uniform(*s.tint, (n, 3)), 1.0))
    x = 255 * (x.clamp(0, 255) / 255) ** each(np.exp(rng.uniform(-s.gamma, s.gamma, n)))
    for i in np.flatnonzero(rng.random(n) < s.erase):
        h, v = (int(size * rng.uniform(0.1, 0.33)) for _ in range(2))
        top, left = int(rng.integers(0, size - h)), int(rng.integers(0, size - v))
        x[i, :, top : top + h, left : left + v] = rng.uniform(0, 255)
    return x
