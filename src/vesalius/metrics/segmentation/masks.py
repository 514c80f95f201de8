"""Masks against masks: overlap and surface distances in 2-d and 3-d, all surface scores from one pass.

Two definitions of the surface are in use and give different numbers on the same masks, so each result names its own:

- `edge`: the voxels of a mask with a face neighbour outside it, each counting one (MONAI, MedPy, the nnU-Net lineage);
- `surfel`: the elements of the marching-cubes surface, each counting its area (DeepMind's surface-distance).

Spacing is given in the order of the array axes; distances come in its unit (millimetres, or voxels without it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.registry import metric
from vesalius.metrics.segmentation.surfels import surface_elements

__all__ = [
    "Definition",
    "Empty",
    "SurfaceScores",
    "assd",
    "dice",
    "dice_thresholds",
    "hausdorff",
    "hd95",
    "label_scores",
    "mask_iou",
    "nsd",
    "surface_scores",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Definition = Literal["edge", "surfel"]
Empty = Literal["error", "penalty", "nan"]

_OVERLAP_EDGES = (
    "Both masks empty give 1 (they agree), one empty 0; different shapes and values other than 0/1 are errors."
)
_SURFACE_EDGES = (
    "An empty mask is an error by default; empty='penalty' gives 0 when both are empty and the diagonal of the image "
    "when one is (NSD 1 and 0); empty='nan' gives NaN. Different shapes and spacings that do not fit are errors."
)


def _mask(values: ArrayLike, name: str) -> Mask:
    array = np.asarray(values)
    if array.dtype != bool:
        if array.dtype.kind not in "iuf" or not ((array == 0) | (array == 1)).all():
            raise BadInputError(
                f"cannot use {name}", why="a mask holds 0 and 1 only", fix="compare with a label or a threshold first"
            )
        array = array.astype(bool)
    return array


def _masks(predicted: ArrayLike, truth: ArrayLike) -> tuple[Mask, Mask]:
    found, true = _mask(predicted, "predicted"), _mask(truth, "truth")
    if found.shape != true.shape:
        raise BadInputError("masks differ in shape", why=f"predicted {found.shape}, truth {true.shape}")
    if found.size == 0:
        raise BadInputError("nothing to measure", why=f"the masks have shape {found.shape}")
    return found, true


def _overlap(found: Mask, true: Mask) -> tuple[int, int, int]:
    return int(np.count_nonzero(found & true)), int(np.count_nonzero(found)), int(np.count_nonzero(true))


@metric(
    "dice",
    definition="2 |A and B| / (|A| + |B|) over voxels.",
    source="Dice, Ecology 1945",
    edge_cases=_OVERLAP_EDGES,
)
def dice(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Dice overlap of two masks of equal shape and any dimension."""
    both, found, true = _overlap(*_masks(predicted, truth))
    return 2 * both / (found + true) if found + true else 1.0


@metric(
    "mask_iou",
    definition="|A and B| / |A or B| over voxels (Jaccard index).",
    source="Jaccard, New Phytol 1912",
    edge_cases=_OVERLAP_EDGES,
)
def mask_iou(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Intersection over union of two masks of equal shape and any dimension."""
    both, found, true = _overlap(*_masks(predicted, truth))
    return both / (found + true - both) if found + true else 1.0


@metric(
    "dice_thresholds",
    definition="Mean of the Dice over the thresholds .1, .3, .5, .7, .9 applied to the prediction divided by "
    "its maximum and "
    "to the truth. As published for diffusion segmentation; it forgives a wrong scale, so never compare it with Dice.",
    source="the evaluation released with MedSegDiff (2022)",
    edge_cases="A prediction that is zero everywhere stays zero; values outside [0, inf) and NaN are errors.",
)
def dice_thresholds(
    predicted: ArrayLike, truth: ArrayLike, thresholds: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9)
) -> float:
    """Dice averaged over thresholds of a soft prediction; both arrays of equal shape, not negative."""
    soft, true = finite(predicted, "predicted", ndim=None), finite(truth, "truth", ndim=None)
    if (soft < 0).any() or (true < 0).any():
        raise BadInputError("cannot use predicted", why="soft masks must not be negative")
    soft = soft / soft.max() if soft.size and soft.max() > 0 else soft
    return float(np.mean([dice(soft > t, true > t) for t in thresholds]))


@dataclass(frozen=True)
class SurfaceScores:
    """Overlap and surface distances of two masks.

    Attributes:
        dice: Dice overlap.
        iou: Intersection over union.
        hd: Hausdorff distance: the largest distance from either surface to the other.
        hd95: The percentile asked for (95 by default) of the distances, larger of the two directions.
        assd: Average symmetric surface distance, all elements of both surfaces pooled.
        masd: Mean of the two directed average distances.
        nsd: Tolerance to normalised surface Dice: share of both surfaces within the tolerance of the other.
        definition: `edge` or `surfel`.
        percentile: The percentile of `hd95`.
        method: How distances were found (`kd-tree`, `distance transform`, `empty`); it does not change them.
    """

    dice: float
    iou: float
    hd: float
    hd95: float
    assd: float
    masd: float
    nsd: dict[float, float]
    definition: Definition
    percentile: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        """The scores as plain data; tolerances become strings, NaN becomes `None`."""
        data: dict[str, Any] = {}
        for name in ("dice", "iou", "hd", "hd95", "assd", "masd"):
            value = float(getattr(self, name))
            data[name] = None if math.isnan(value) else value
        data["nsd"] = {f"{t:g}": None if math.isnan(v) else v for t, v in self.nsd.items()}
        return {**data, "definition": self.definition, "percentile": self.percentile, "method": self.method}


def _crop(found: Mask, true: Mask) -> tuple[Mask, Mask]:
    """Both masks cut to the smallest block that holds them; each axis works on what the one before left."""
    for axis in range(found.ndim):
        others = tuple(a for a in range(found.ndim) if a != axis)
        line = np.flatnonzero(found.any(axis=others) | true.any(axis=others))
        window = [slice(None)] * found.ndim
        window[axis] = slice(int(line[0]), int(line[-1]) + 1)
        found, true = found[tuple(window)], true[tuple(window)]
    return found, true


def _edges(mask: Mask) -> Mask:
    """Voxels of the mask with a face neighbour outside it; what lies outside the array is outside the mask."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for step in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(step, step + mask.shape[axis])
            inner &= padded[tuple(window)]
    return np.asarray(mask & ~inner)


def _surface(mask: Mask, spacing: Floats, definition: Definition) -> tuple[Mask, Floats]:
    if definition == "edge":
        cells = _edges(mask)
        return cells, np.ones(int(np.count_nonzero(cells)))
    return surface_elements(np.ascontiguousarray(mask), spacing)


def _distances(first: Mask, second: Mask, spacing: Floats) -> tuple[Floats, Floats, str]:
    """Distance of each true cell of one array to the nearest of the other, in both directions.

    A k-d tree costs some microseconds a surface cell, the distance transform some tenths of one a voxel of the block,
    whatever its content: the cheaper is taken. Cells that both surfaces share are at distance zero and never asked for.
    """
    shared = first & second
    out = [np.zeros(int(np.count_nonzero(first))), np.zeros(int(np.count_nonzero(second)))]
    alone = [~shared[first], ~shared[second]]
    asked = int(alone[0].sum() + alone[1].sum())
    if not asked:
        return out[0], out[1], "identical surfaces"
    if (asked + 0.3 * (len(out[0]) + len(out[1]))) * _TREE_COST < 2 * first.size * _TRANSFORM_COST:
        from scipy.spatial import cKDTree

        points = [np.argwhere(first) * spacing, np.argwhere(second) * spacing]
        for side in (0, 1):
            if alone[side].any():
                tree = cKDTree(points[1 - side], leafsize=48, compact_nodes=False, balanced_tree=False)
                out[side][alone[side]] = tree.query(points[side][alone[side]])[0]
        return out[0], out[1], "kd-tree"
    from scipy.ndimage import distance_transform_edt

    for side, (mine, other) in enumerate(((first, second), (second, first))):
        if alone[side].any():
            out[side] = distance_transform_edt(~other, sampling=spacing)[mine]
    return out[0], out[1], "distance transform"


_TREE_COST, _TRANSFORM_COST = 1.5, 0.15  # microseconds, see _distances


def _percentile(distance: Floats, amount: Floats, percentile: float, definition: Definition) -> float:
    """Percentile of weighted distances: linear interpolation of voxels, the step rule of areas."""
    if definition == "edge":
        return float(np.quantile(distance, percentile / 100))
    order = np.argsort(distance, kind="stable")
    share = np.cumsum(amount[order]) / amount.sum()
    place = min(int(np.searchsorted(share, percentile / 100)), len(order) - 1)
    return float(distance[order][place])


def _spacing(spacing: Sequence[float] | float | None, ndim: int) -> Floats:
    if spacing is None:
        return np.ones(ndim)
    values = (
        np.broadcast_to(np.asarray(spacing, dtype=np.float64), (ndim,))
        if np.ndim(spacing) == 0
        else finite(spacing, "spacing")
    )
    if values.shape != (ndim,) or not np.isfinite(values).all() or (values <= 0).any():
        raise BadInputError(
            "cannot use spacing",
            why=f"{spacing} for {ndim} axes",
            fix="give one positive number an axis, in the order of the axes",
        )
    return values


def surface_scores(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float] | float | None = None,
    *,
    definition: Definition = "edge",
    tolerances: Sequence[float] = (1.0,),
    percentile: float = 95.0,
    empty: Empty = "error",
) -> SurfaceScores:
    """All overlap and surface scores of two masks in one pass.

    Args:
        predicted: Predicted mask, 2-d or 3-d, values 0/1.
        truth: True mask of the same shape.
        spacing: Voxel size along each axis of the array; 1 by default.
        definition: What the surface is made of, see the module.
        tolerances: Tolerances of the normalised surface Dice, in the unit of the spacing.
        percentile: Percentile of `hd95`.
        empty: What an empty mask leads to: `error`; `penalty`, which gives distances of 0 (both empty) or the diagonal
            of the image (one empty) and an NSD of 1 or 0; `nan`.

    Returns:
        The scores.

    Raises:
        BadInputError: Shapes or spacing do not fit, values other than 0/1, or an empty mask.
        UsageError: Unknown definition or policy.
    """
    if definition not in ("edge", "surfel"):
        raise UsageError("unknown definition of the surface", item=str(definition), fix="use edge or surfel")
    if empty not in ("error", "penalty", "nan"):
        raise UsageError("unknown policy for empty masks", item=str(empty), fix="use error, penalty or nan")
    found, true = _masks(predicted, truth)
    if found.ndim not in (2, 3):
        raise BadInputError("no surface distances", why=f"masks have {found.ndim} dimensions, 2 or 3 are needed")
    size = _spacing(spacing, found.ndim)
    if not 0 <= percentile <= 100 or any(not t >= 0 for t in tolerances):
        raise BadInputError(
            "cannot measure surfaces", why="the percentile must be in [0, 100], tolerances not negative"
        )
    some = bool(found.any()), bool(true.any())
    if not all(some):
        return _empty(some, found.shape, size, definition, tolerances, percentile, empty)
    cut_found, cut_true = _crop(found, true)
    both, n_found, n_true = _overlap(cut_found, cut_true)
    first, weight_a = _surface(cut_found, size, definition)
    second, weight_b = _surface(cut_true, size, definition)
    a, b, method = _distances(first, second, size)
    total_a, total_b = float(weight_a.sum()), float(weight_b.sum())
    sum_a, sum_b = float(a @ weight_a), float(b @ weight_b)
    # A distance equal to the tolerance counts, whichever way rounding made it fall.
    limits = {float(t): float(t) * (1 + 1e-9) for t in tolerances}
    near = {
        t: (float(weight_a[a <= top].sum()) + float(weight_b[b <= top].sum())) / (total_a + total_b)
        for t, top in limits.items()
    }
    return SurfaceScores(
        dice=2 * both / (n_found + n_true),
        iou=both / (n_found + n_true - both),
        hd=float(max(a.max(), b.max())),
        hd95=max(_percentile(a, weight_a, percentile, definition), _percentile(b, weight_b, percentile, definition)),
        assd=(sum_a + sum_b) / (total_a + total_b),
        masd=(sum_a / total_a + sum_b / total_b) / 2,
        nsd=near,
        definition=definition,
        percentile=percentile,
        method=method,
    )


def _empty(
    some: tuple[bool, bool],
    shape: tuple[int, ...],
    spacing: Floats,
    definition: Definition,
    tolerances: Sequence[float],
    percentile: float,
    policy: Empty,
) -> SurfaceScores:
    if policy == "error":
        which = "both masks are" if not any(some) else ("the prediction is" if not some[0] else "the truth is")
        raise BadInputError(
            "surface distances are undefined",
            why=f"{which} empty",
            fix="say empty='penalty' or empty='nan' to score such cases",
        )
    agree = not any(some)
    overlap = 1.0 if agree else 0.0
    if policy == "nan":
        distance, near = math.nan, math.nan
    else:
        distance, near = (0.0 if agree else float(np.linalg.norm(np.array(shape) * spacing))), overlap
    table = {float(t): near for t in tolerances}
    return SurfaceScores(
        overlap, overlap, distance, distance, distance, distance, table, definition, percentile, "empty"
    )


def label_scores(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float] | float | None = None,
    *,
    labels: Sequence[int] | None = None,
    definition: Definition = "edge",
    tolerances: Sequence[float] = (1.0,),
    percentile: float = 95.0,
    empty: Empty = "penalty",
) -> dict[int, SurfaceScores]:
    """Scores of each label of two label maps; label numbers may have gaps.

    Args:
        predicted: Label map of integers, 0 for background.
        truth: Label map of the same shape.
        spacing: See `surface_scores`, as the others.
        labels: Labels to score; those that occur on either side by default.
        definition: Definition of the surface.
        tolerances: Tolerances of the NSD.
        percentile: Percentile of `hd95`.
        empty: Policy for a label that one side lacks.

    Returns:
        Label to scores.

    Raises:
        BadInputError: Maps differ in shape, hold fractions, or a label is empty and the policy is `error`.
    """
    found, true = np.asarray(predicted), np.asarray(truth)
    for name, array in (("predicted", found), ("truth", true)):
        if array.dtype.kind not in "iub":
            raise BadInputError(f"cannot use {name}", why=f"a label map holds integers, not {array.dtype}")
    if found.shape != true.shape:
        raise BadInputError("label maps differ in shape", why=f"predicted {found.shape}, truth {true.shape}")
    wanted = labels if labels is not None else [int(v) for v in np.union1d(found, true) if v != 0]
    return {
        int(label): surface_scores(
            found == label,
            true == label,
            spacing,
            definition=definition,
            tolerances=tolerances,
            percentile=percentile,
            empty=empty,
        )
        for label in wanted
    }


@metric(
    "hausdorff",
    definition="Largest distance from a point of either surface to the other surface.",
    source="Huttenlocher et al., IEEE TPAMI 1993",
    higher_is_better=False,
    unit="unit of the spacing (mm)",
    range=(0.0, float("inf")),
    edge_cases=_SURFACE_EDGES,
)
def hausdorff(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float] | float | None = None,
    definition: Definition = "edge",
    empty: Empty = "error",
) -> float:
    """Hausdorff distance; arguments as `surface_scores`."""
    return surface_scores(predicted, truth, spacing, definition=definition, empty=empty).hd


@metric(
    "hd95",
    definition="95th percentile of the distances from each surface to the other, the larger of the two directions.",
    source="edge: as MONAI (voxels, linear interpolation); surfel: as surface-distance (areas, step rule)",
    higher_is_better=False,
    unit="unit of the spacing (mm)",
    range=(0.0, float("inf")),
    edge_cases=_SURFACE_EDGES,
)
def hd95(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float] | float | None = None,
    definition: Definition = "edge",
    empty: Empty = "error",
) -> float:
    """95th-percentile Hausdorff distance; arguments as `surface_scores`."""
    return surface_scores(predicted, truth, spacing, definition=definition, empty=empty).hd95


@metric(
    "assd",
    definition="Average symmetric surface distance: mean distance to the other surface over the elements of "
    "both surfaces.",
    source="Heimann et al., IEEE TMI 2009",
    higher_is_better=False,
    unit="unit of the spacing (mm)",
    range=(0.0, float("inf")),
    edge_cases=_SURFACE_EDGES,
)
def assd(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Sequence[float] | float | None = None,
    definition: Definition = "edge",
    empty: Empty = "error",
) -> float:
    """Average symmetric surface distance; arguments as `surface_scores`."""
    return surface_scores(predicted, truth, spacing, definition=definition, empty=empty).assd


@metric(
    "nsd",
    definition="Normalised surface Dice: share of both surfaces no further than a tolerance from the other.",
    source="Nikolov et al., J Med Internet Res 2021",
    edge_cases=_SURFACE_EDGES,
)
def nsd(
    predicted: ArrayLike,
    truth: ArrayLike,
    tolerance: float = 1.0,
    spacing: Sequence[float] | float | None = None,
    definition: Definition = "edge",
    empty: Empty = "error",
) -> float:
    """Normalised surface Dice at a tolerance in the unit of the spacing; arguments as `surface_scores`."""
    scores = surface_scores(predicted, truth, spacing, definition=definition, tolerances=(tolerance,), empty=empty)
    return scores.nsd[float(tolerance)]
