"""From slices with positions to volumes: order, spacing, affine, and every fault by name. Geometry only, no files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vesalius.cases import Affine
from vesalius.errors import BadInputError

FloatArray = npt.NDArray[np.float64]

#: Millimetres within which two slices are at one place.
SAME_PLACE = 0.01
#: Share of the spacing that positions may be off before it is called a fault.
UNEVEN = 0.02
#: Degrees between the stack and the slices' normal that count as gantry tilt.
TILT = 0.5


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: where it is and what may tell it from another at the same place.

    Args:
        index: The caller's number for it.
        position: LPS mm of the centre of its first pixel.
        instance: Instance (or frame) number.
        phases: Name and value of what may divide a series into volumes, the most telling first.
        name: For messages.
    """

    index: int
    position: tuple[float, ...]
    instance: int | None = None
    phases: tuple[tuple[str, float], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in order along the normal, as one volume (or over time at one place, when `moving`)."""

    order: tuple[int, ...]
    affine: Affine | None
    gap: float | None
    faults: tuple[str, ...]
    moving: bool = False


def stacks(
    slices: Sequence[Slice],
    orientation: Sequence[float],
    pixel_spacing: Sequence[float] | None,
    *,
    spacing_between: float | None = None,
    thickness: float | None = None,
) -> list[Stack]:
    """Divide slices of one orientation into volumes.

    Args:
        slices: At least one.
        orientation: Six direction cosines: along a row, then down a column (Image Orientation (Patient)).
        pixel_spacing: Row and column spacing in mm, or None (then no affine).
        spacing_between: What the header says the slices' distance is.
        thickness: Slice thickness, for a single slice.

    Returns:
        One stack, several for 4-D data, or one `moving` stack when all slices are at one place.

    Raises:
        BadInputError: Some slices share a position and nothing tells which belong together.
    """
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    normal = np.cross(row, column)
    groups = _split_phases(slices, normal)
    faults: tuple[str, ...] = () if len(groups) == 1 else (f"4-D series: one of {len(groups)} volumes",)
    made = []
    for group in groups:
        if len(group) > 1 and _one_place(group, normal):
            ordered = sorted(group, key=lambda s: (_phase_values(s), s.instance or 0, s.name))
            affine = _affine(ordered[:1], row, column, normal, pixel_spacing, thickness or 1.0)[0]
            made.append(Stack(tuple(s.index for s in ordered), affine, None, faults, moving=True))
        else:
            made.append(_one(group, row, column, pixel_spacing, spacing_between, thickness, faults))
    return made


def _one(
    group: Sequence[Slice],
    row: FloatArray,
    column: FloatArray,
    pixel_spacing: Sequence[float] | None,
    spacing_between: float | None,
    thickness: float | None,
    faults: tuple[str, ...],
) -> Stack:
    normal = np.cross(row, column)
    ordered = sorted(group, key=lambda s: (float(np.dot(s.position, normal)), s.instance or 0))
    found = list(faults)
    places = np.asarray([np.dot(s.position, normal) for s in ordered])
    gap = None
    even = True
    if len(ordered) > 1:
        gaps = np.diff(places)
        gap = float(np.median(gaps))
        spacing_faults = _spacing_faults(gaps, gap)
        even = not spacing_faults
        found += spacing_faults
        if spacing_between and abs(abs(spacing_between) - gap) > max(UNEVEN * gap, SAME_PLACE):
            found.append(f"SpacingBetweenSlices says {abs(spacing_between):g} mm, positions say {gap:g} mm")
    affine, shape_faults = _affine(ordered, row, column, normal, pixel_spacing, thickness or 1.0)
    found += shape_faults
    return Stack(tuple(s.index for s in ordered), affine if even else None, gap, tuple(found))


def _spacing_faults(gaps: FloatArray, gap: float) -> list[str]:
    off = np.abs(gaps - gap) > max(UNEVEN * gap, SAME_PLACE)
    if not off.any():
        return []
    times = gaps / gap
    whole = np.abs(times - np.round(times)) <= 0.05
    if (whole & (times > 0.5)).all():
        missing = [(int(i) + 1, round(float(times[i])) - 1) for i in np.flatnonzero(np.round(times) > 1)]
        text = ", ".join(f"{n} after slice {i}" for i, n in missing[:8])
        return [f"missing slices: {text}" + (" ..." if len(missing) > 8 else "")]
    return [f"slices are not evenly spaced: {float(gaps.min()):g} to {float(gaps.max()):g} mm"]


def _affine(
    ordered: Sequence[Slice],
    row: FloatArray,
    column: FloatArray,
    normal: FloatArray,
    pixel_spacing: Sequence[float] | None,
    thickness: float,
) -> tuple[Affine | None, list[str]]:
    """PS3.3 C.7.6.2.1.1, with the slice axis first. A tilted stack gets the sheared affine that is true for it."""
    faults: list[str] = []
    positions = np.asarray([s.position for s in ordered], dtype=np.float64)
    if len(ordered) > 1:
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        length = float(np.linalg.norm(step))
        angle = float(np.degrees(np.arccos(np.clip(np.dot(step, normal) / max(length, 1e-12), -1.0, 1.0))))
        if angle > TILT:
            faults.append(f"gantry tilt: slices are sheared by {angle:.1f} degrees")
        straight = positions[0] + np.arange(len(ordered))[:, None] * step
        sideways = positions - straight
        sideways -= (sideways @ normal)[:, None] * normal
        if float(np.abs(sideways).max()) > max(0.1 * length, SAME_PLACE):
            return None, [*faults, "slices are shifted sideways against each other"]
    else:
        step = normal * thickness
    if pixel_spacing is None:
        return None, faults
    m = np.eye(4)
    m[:3, 0], m[:3, 1], m[:3, 2] = step, column * pixel_spacing[0], row * pixel_spacing[1]
    m[:3, 3] = positions[0]
    try:
        return Affine(m), faults
    except BadInputError as error:
        return None, [*faults, f"no usable affine ({error.what})"]


def _one_place(group: Sequence[Slice], normal: FloatArray) -> bool:
    places = [float(np.dot(s.position, normal)) for s in group]
    return max(places) - min(places) <= SAME_PLACE


def _phase_values(s: Slice) -> tuple[float, ...]:
    return tuple(v for _, v in s.phases)


def _split_phases(slices: Sequence[Slice], normal: FloatArray) -> list[list[Slice]]:
    """One group when every slice has a place of its own; else groups in which every slice has."""
    if len(slices) == 1 or not _duplicates(slices, normal) or _one_place(slices, normal):
        return [list(slices)]
    for name in dict(p for s in slices for p in s.phases):
        groups: dict[float, list[Slice]] = defaultdict(list)
        for s in slices:
            groups[dict(s.phases).get(name, 0.0)].append(s)
        if len(groups) > 1 and all(len(g) > 1 and not _duplicates(g, normal) for g in groups.values()):
            return [groups[value] for value in sorted(groups)]
    # Nothing names the phases: equal counts at every place can still be dealt out by instance number.
    by_place = _by_place(slices, normal)
    counts = {len(g) for g in by_place}
    if (
        len(counts) == 1
        and len({s.instance for s in slices}) == len(slices)
        and None not in {s.instance for s in slices}
    ):
        dealt = [sorted(g, key=lambda s: s.instance or 0) for g in by_place]
        return [[g[i] for g in dealt] for i in range(counts.pop())]
    a, b = _duplicates(slices, normal)[0]
    raise BadInputError(
        "series has two slices at one position",
        item=a.name,
        why=f"so has {b.name}, and nothing in the headers tells volumes apart",
        fix="remove the copy, or give the volumes series of their own",
    )


def _by_place(slices: Sequence[Slice], normal: FloatArray) -> list[list[Slice]]:
    ordered = sorted(slices, key=lambda s: float(np.dot(s.position, normal)))
    groups = [[ordered[0]]]
    for s in ordered[1:]:
        near = float(np.dot(s.position, normal)) - float(np.dot(groups[-1][0].position, normal)) <= SAME_PLACE
        if near:
            groups[-1].append(s)
        else:
            groups.append([s])
    return groups


def _duplicates(slices: Sequence[Slice], normal: FloatArray) -> list[tuple[Slice, Slice]]:
    return [(g[0], g[1]) for g in _by_place(slices, normal) if len(g) > 1]
