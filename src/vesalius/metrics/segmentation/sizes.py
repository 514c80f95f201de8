"""How large a segmented structure is: area, volume, diameters and the circumference of its ellipse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from vesalius.errors import BadInputError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """Sizes of one structure; lengths in `unit`, areas in its square, the volume in its cube.

    Args:
        unit: `mm` where the spacing is known, else `px`.
        area: Of the picture, or of the slice in which the structure is largest.
        volume: Of a volume, else None. In `px` it is a number of voxels.
        longest: Largest distance of two points of the outline (the largest Feret diameter).
        shortest: Smallest width between two parallel lines (the smallest Feret diameter).
        major: Longer axis of the ellipse with the same second moments.
        minor: Its shorter axis.
        circumference: Of that ellipse.
        slice: The slice of all but `volume`, or None for a picture.
    """

    unit: str
    area: float
    volume: float | None
    longest: float
    shortest: float
    major: float
    minor: float
    circumference: float
    slice: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what a picture does not have is left out."""
        return {k: v for k, v in vars(self).items() if v is not None}


def measure(mask: npt.NDArray[np.bool_], spacing: Sequence[float] | None = None) -> Measures | None:
    """Measure a mask; None where it is empty.

    The diameters are those of the convex hull of the pixels' corners. The ellipse has the mask's second moments (a
    pixel counts as a square, not a point), which is the ellipse itself where the mask is one; its circumference is
    Ramanujan's second approximation, `pi (a + b) (1 + 3 h / (10 + sqrt(4 - 3 h)))` with `h = ((a - b) / (a + b))^2`,
    off by less than 1e-4 for axes of up to 1 : 5. Sonographers take the circumference of a fetal head so.

    Args:
        mask: `(H, W)` or `(D, H, W)`.
        spacing: Millimetres between neighbours along each axis of the mask, or None where nobody knows them.

    Raises:
        BadInputError: The mask has another number of axes than 2 or 3, or than the spacing.

    >>> import numpy as np
    >>> found = measure(np.ones((3, 4), bool), spacing=(1.0, 1.0))
    >>> found.area, found.longest, found.shortest, found.unit
    (12.0, 5.0, 3.0, 'mm')
    """
    mask = np.asarray(mask, bool)
    if mask.ndim not in (2, 3) or (spacing is not None and len(spacing) != mask.ndim):
        raise BadInputError("mask cannot be measured", why=f"its shape is {mask.shape}, the spacing {spacing}")
    if not mask.any():
        return None
    step = np.ones(mask.ndim) if spacing is None else np.asarray(spacing, np.float64)
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise BadInputError("mask cannot be measured", why=f"the spacing is {spacing}")
    volume, at, flat = None, None, mask
    if mask.ndim == 3:
        volume = float(mask.sum() * step.prod())
        at = int(mask.sum((1, 2)).argmax())
        flat, step = mask[at], step[1:]
    places = np.argwhere(flat) * step
    longest, shortest = _feret(places, step)
    major, minor = _axes(places, step)
    return Measures(
        "px" if spacing is None else "mm", float(flat.sum() * step.prod()), volume, longest, shortest, major, minor,
        ellipse_circumference(major, minor), at,
    )  # fmt: skip


def ellipse_circumference(major: float, minor: float) -> float:
    """Circumference of an ellipse from its two axes (Ramanujan, 1914, second approximation)."""
    a, b = major / 2, minor / 2
    if a + b == 0:
        return 0.0
    h = ((a - b) / (a + b)) ** 2
    return math.pi * (a + b) * (1 + 3 * h / (10 + math.sqrt(4 - 3 * h)))


def _feret(places: FloatArray, step: FloatArray) -> tuple[float, float]:
    """Largest and smallest width of the hull of pixels whose upper left corners are given."""
    corners = np.concatenate([places + step * np.asarray(c) for c in ((0, 0), (0, 1), (1, 0), (1, 1))])
    hull = corners[ConvexHull(corners).vertices]
    longest = max(float(np.hypot(*(hull - p).T).max()) for p in hull)
    edges = np.roll(hull, -1, 0) - hull
    normals = np.stack([-edges[:, 1], edges[:, 0]], 1) / np.hypot(*edges.T)[:, None]
    # The narrowest pair of parallel lines lies along an edge of the hull.
    across = hull @ normals.T
    return longest, float((across.max(0) - across.min(0)).min())


def _axes(places: FloatArray, step: FloatArray) -> tuple[float, float]:
    """Axes of the ellipse with the same second moments: an ellipse's variance along an axis is `(axis / 4)^2`."""
    spread = np.cov(places.T, bias=True) if len(places) > 1 else np.zeros((2, 2))
    low, high = np.linalg.eigvalsh(spread + np.diag(step**2) / 12)
    return 4 * math.sqrt(high), 4 * math.sqrt(low)
