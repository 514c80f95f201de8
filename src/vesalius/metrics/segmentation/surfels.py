"""Surface elements of a mask: the area (in 2-d the length) of the surface in each cell of neighbouring voxels.

A cell joins the centres of 2 x 2 x 2 voxels (2 x 2 pixels).

The surface is that of marching cubes with every crossing at the middle of its voxel edge. It is derived here from the
geometry of the cell, not copied as a table: on each face the crossings are joined, which closes them to loops, and a
loop is cut into triangles from the corner that gives the largest area in a cube. On a face with two opposite corners
inside, the corners of the smaller class of the cell are kept apart, so that a mask and its complement have the same
surface.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["surface_elements"]

Floats = NDArray[np.float64]
Point = tuple[float, ...]


def _corners(ndim: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=ndim))


def _joined(code: int) -> dict[Point, list[Point]]:
    """Neighbours of each crossing along the faces of the cube."""
    corners = _corners(3)
    inside = {corner: bool(code >> place & 1) for place, corner in enumerate(corners)}
    apart = sum(inside.values()) <= 4
    links: dict[Point, list[Point]] = {}
    for axis, side in itertools.product(range(3), (0, 1)):
        others = [a for a in range(3) if a != axis]
        ring: list[tuple[int, ...]] = []
        for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)):
            corner = [side] * 3
            corner[others[0]], corner[others[1]] = u, v
            ring.append(tuple(corner))
        middle = [tuple((a + b) / 2 for a, b in zip(ring[i], ring[(i + 1) % 4], strict=True)) for i in range(4)]
        cut = [i for i in range(4) if inside[ring[i]] != inside[ring[(i + 1) % 4]]]
        if len(cut) == 4:
            pairs = [((i - 1) % 4, i) for i in range(4) if inside[ring[i]] == apart]
        else:
            pairs = [(cut[0], cut[1])] if cut else []
        for a, b in pairs:
            links.setdefault(middle[a], []).append(middle[b])
            links.setdefault(middle[b], []).append(middle[a])
    return links


def _loops(code: int) -> list[Floats]:
    """Closed polygons of the surface in a cube."""
    links, seen, loops = _joined(code), set[Point](), []
    for start in links:
        if start in seen:
            continue
        loop, before, here = [start], start, links[start][0]
        while here != start:
            loop.append(here)
            ahead = [p for p in links[here] if p != before]
            before, here = here, ahead[0] if ahead else start
        seen.update(loop)
        loops.append(np.array(loop))
    return loops


def _fan(loop: Floats, start: int) -> Floats:
    """Vector areas of the triangles of a loop cut from one of its points, shape `(k - 2, 3)`."""
    points = np.roll(loop, -start, axis=0) - loop[start]
    return np.asarray(np.cross(points[1:-1], points[2:]) / 2)


@lru_cache(maxsize=1)
def _triangles() -> tuple[Floats, NDArray[np.intp]]:
    """Vector areas of all triangles of all 256 codes, and the code of each."""
    vectors: list[Floats] = []
    codes: list[int] = []
    for code in range(1, 255):
        for loop in _loops(code):
            fans = [_fan(loop, start) for start in range(len(loop))]
            best = max(fans, key=lambda fan: round(float(np.linalg.norm(fan, axis=1).sum()), 9))
            vectors.append(best)
            codes += [code] * len(best)
    return np.concatenate(vectors), np.array(codes)


def _areas(spacing: Floats) -> Floats:
    """Area of each of the 256 codes: a vector area scales with the spacings of the two other axes."""
    vectors, codes = _triangles()
    scale = np.prod(spacing) / spacing
    return np.bincount(codes, weights=np.linalg.norm(vectors * scale, axis=1), minlength=256).astype(np.float64)


def _lengths(spacing: Floats) -> Floats:
    """Length of each of the 16 codes of a 2 x 2 cell."""
    half = float(np.hypot(*spacing)) / 2
    out = np.zeros(16)
    for code in range(1, 15):
        inside = np.array([code >> place & 1 for place in range(4)]).reshape(2, 2)
        total = inside.sum()
        if total in (1, 3):
            out[code] = half
        elif (inside[0] == inside[1]).all():
            out[code] = spacing[0]
        elif (inside[:, 0] == inside[:, 1]).all():
            out[code] = spacing[1]
        else:
            out[code] = 2 * half
    return out


def surface_elements(mask: NDArray[np.bool_], spacing: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Cells through which the surface passes, and how much of it each holds.

    Args:
        mask: Boolean mask in 2-d or 3-d; outside of it is background.
        spacing: Size of a voxel along each axis.

    Returns:
        `(cells, amounts)`: booleans with one more entry than the mask along each axis (cell i lies between voxels i - 1
        and i), and the area (3-d) or length (2-d) of the true cells in their order, in the unit of the spacing.
    """
    ndim = mask.ndim
    padded = np.pad(mask, 1).view(np.uint8)
    shape = tuple(n + 1 for n in mask.shape)
    code = np.zeros(shape, dtype=np.uint8)
    for place, corner in enumerate(_corners(ndim)):
        window = tuple(slice(c, c + n) for c, n in zip(corner, shape, strict=True))
        code |= padded[window] << np.uint8(place)
    cells = (code != 0) & (code != 2 ** (2**ndim) - 1)
    table = _areas(spacing) if ndim == 3 else _lengths(spacing)
    return cells, table[code[cells]]
