"""Image parts: with or without a region, with or without a border, and the controls that a fair comparison needs.

The five modes are those of "Mask of truth" (2024): the full image, the region or its box removed, only the region or
its box kept. What that study lacks: a hole has a shape, and shape alone may give the label away (a large heart leaves
a large hole). So there are two controls: `outline` shows the shape and nothing else, and `no-fixed` removes one and the
same area from every image, so that the hole says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, UsageError

__all__ = ["MODES", "Mode", "border_only", "common_area", "masked", "without_border"]

Bools = npt.NDArray[np.bool_]
Mode = Literal["full", "no-roi", "no-box", "only-roi", "only-box", "outline", "no-fixed", "only-fixed"]
MODES: tuple[Mode, ...] = get_args(Mode)


def masked(
    image: npt.NDArray[Any], roi: Bools, mode: Mode, *, spread: int = 0, fill: float = 0.0, fixed: Bools | None = None
) -> npt.NDArray[Any]:
    """One image in one mode.

    Args:
        image: `(H, W[, C])`.
        roi: Region `(H, W)`.
        mode: See `MODES`.
        spread: Grow (or, negative, shrink) the region by this many pixels first, with a 3x3 cross.
        fill: Value of what is removed.
        fixed: The common area for `no-fixed` and `only-fixed`.

    Raises:
        BadInputError: Region and image differ in size, or the region is empty in a mode that needs it.
        UsageError: Unknown mode, or no common area given.
    """
    if mode not in MODES:
        raise UsageError("unknown mode", item=str(mode), fix=f"use one of {', '.join(MODES)}")
    if mode == "full":
        return image.copy()
    if mode in ("no-fixed", "only-fixed"):
        if fixed is None:
            raise UsageError("no common area", item=mode, fix="give fixed=common_area(masks)")
        keep = ~fixed if mode == "no-fixed" else fixed
    else:
        if roi.shape != image.shape[:2]:
            raise BadInputError("region and image differ in size", why=f"{roi.shape} and {image.shape[:2]}")
        region = _spread(roi.astype(bool), spread)
        if not region.any():
            raise BadInputError("the region is empty", item=mode)
        if mode == "outline":
            out = np.full_like(image, fill)
            out[region] = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
            return out
        area = _box(region) if mode.endswith("box") else region
        keep = ~area if mode.startswith("no") else area
    out = image.copy()
    out[~keep] = fill
    return out


def common_area(masks: Sequence[Bools], *, margin: int = 0) -> Bools:
    """The box around all regions of a set (all of one size): what `no-fixed` removes from every image."""
    if not masks:
        raise BadInputError("no regions")
    union = np.zeros_like(masks[0], dtype=bool)
    for m in masks:
        if m.shape != union.shape:
            raise BadInputError("regions differ in size", why=f"{m.shape} and {union.shape}", fix="resize them first")
        union |= m.astype(bool)
    return _box(_spread(union, margin)) if union.any() else union


def border_only(image: npt.NDArray[Any], share: float = 0.12, fill: float | None = None) -> npt.NDArray[Any]:
    """Keep a frame of `share` of each side and flatten the middle to one value (the frame's median by default).

    A middle filled with the median of the *frame* carries nothing of what it covered.
    """
    inner = _inner(image.shape, share)
    out = image.copy()
    frame = np.ones(image.shape[:2], dtype=bool)
    frame[inner] = False
    out[inner] = np.median(image[frame], axis=0) if fill is None else fill
    return out


def without_border(image: npt.NDArray[Any], share: float = 0.12, fill: float | None = None) -> npt.NDArray[Any]:
    """Flatten a frame of `share` of each side (to the median of the middle by default) and keep the middle."""
    inner = _inner(image.shape, share)
    out = np.empty_like(image)
    out[...] = np.median(image[inner].reshape(-1, *image.shape[2:]), axis=0) if fill is None else fill
    out[inner] = image[inner]
    return out


def _inner(shape: tuple[int, ...], share: float) -> tuple[slice, slice]:
    if not 0 < share < 0.5:
        raise UsageError("border share must lie between 0 and 0.5", item=str(share))
    dy, dx = max(round(shape[0] * share), 1), max(round(shape[1] * share), 1)
    if 2 * dy >= shape[0] or 2 * dx >= shape[1]:
        raise BadInputError("the image is too small for a border", why=f"shape {shape}")
    return slice(dy, shape[0] - dy), slice(dx, shape[1] - dx)


def _box(region: Bools) -> Bools:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    out = np.zeros_like(region)
    out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return out


def _spread(region: Bools, steps: int) -> Bools:
    if steps == 0:
        return region
    from scipy.ndimage import binary_dilation, binary_erosion

    change = binary_dilation if steps > 0 else binary_erosion
    return np.asarray(change(region, iterations=abs(steps)), dtype=bool)
