"""Points, boxes, polygons, run-length masks in pixels, and the affine from voxels to the patient.

Pixel convention: `x` grows to the right (columns), `y` downwards (rows); the pixel in row 0, column 0 covers
`[0, 1) x [0, 1)`. Boxes are half-open `[x0, y0, x1, y1)`. `z` is the slice (or frame) index of a volume (or video).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Point:
    """One place in an image, in pixels; `z` is the slice or frame where there is one."""

    x: float
    y: float
    z: float | None = None

    def __post_init__(self) -> None:
        _finite("point", (self.x, self.y) if self.z is None else (self.x, self.y, self.z))

    def scaled(self, sx: float, sy: float) -> Point:
        """The same place in an image whose width is `sx` and height `sy` times as large."""
        return Point(self.x * sx, self.y * sy, self.z)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, `{"type": "point", "x", "y"[, "z"]}`."""
        out: dict[str, Any] = {"type": "point", "x": self.x, "y": self.y}
        return out if self.z is None else {**out, "z": self.z}


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open box `[x0, x1) x [y0, y1)`, in pixels; with `z0, z1` a half-open range of slices too."""

    x0: float
    y0: float
    x1: float
    y1: float
    z0: float | None = None
    z1: float | None = None

    def __post_init__(self) -> None:
        _finite("box", (self.x0, self.y0, self.x1, self.y1))
        if self.x1 < self.x0 or self.y1 < self.y0:
            raise BadInputError(
                "box is inside out",
                item=f"[{self.x0}, {self.y0}, {self.x1}, {self.y1})",
                why="x1 < x0 or y1 < y0",
                fix="give boxes as x0, y0, x1, y1 with y downwards",
            )
        if (self.z0 is None) != (self.z1 is None):
            raise BadInputError("box has one of z0 and z1 only", item=repr(self), fix="give both or none")
        if self.z0 is not None and self.z1 is not None:
            _finite("box", (self.z0, self.z1))
            if self.z1 < self.z0:
                raise BadInputError("box is inside out", item=repr(self), why="z1 < z0")

    @classmethod
    def from_xywh(cls, x: float, y: float, width: float, height: float) -> Box:
        """From corner and size (COCO's order)."""
        return cls(x, y, x + width, y + height)

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Area in pixels squared (one slice)."""
        return self.width * self.height

    @property
    def centre(self) -> Point:
        """The middle of the box."""
        return Point((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)

    def iou(self, other: Box) -> float:
        """Intersection over union in the plane; 0 when both are empty."""
        w = min(self.x1, other.x1) - max(self.x0, other.x0)
        h = min(self.y1, other.y1) - max(self.y0, other.y0)
        inter = max(w, 0.0) * max(h, 0.0)
        union = self.area + other.area - inter
        return inter / union if union > 0 else 0.0

    def clipped(self, height: int, width: int) -> Box:
        """The part inside an image of `height` x `width` (empty, at the border, when there is none)."""
        x0, x1 = (min(max(v, 0.0), float(width)) for v in (self.x0, self.x1))
        y0, y1 = (min(max(v, 0.0), float(height)) for v in (self.y0, self.y1))
        return Box(x0, y0, x1, y1, self.z0, self.z1)

    def scaled(self, sx: float, sy: float) -> Box:
        """The same box in an image whose width is `sx` and height `sy` times as large."""
        return Box(self.x0 * sx, self.y0 * sy, self.x1 * sx, self.y1 * sy, self.z0, self.z1)

    def flipped(self, width: float) -> Box:
        """The box after the image was mirrored left to right."""
        return Box(width - self.x1, self.y0, width - self.x0, self.y1, self.z0, self.z1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, `{"type": "box", "x0", "y0", "x1", "y1"[, "z0", "z1"]}`."""
        out: dict[str, Any] = {"type": "box", "x0": self.x0, "y0": self.y0, "x1": self.x1, "y1": self.y1}
        return out if self.z0 is None else {**out, "z0": self.z0, "z1": self.z1}


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline as `((x, y), ...)` in pixels, at least three corners, not repeated at the end."""

    points: tuple[tuple[float, float], ...]
    z: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple((float(x), float(y)) for x, y in self.points))
        if len(self.points) < 3:
            raise BadInputError("polygon has fewer than three corners", item=f"{len(self.points)} corners")
        _finite("polygon", [v for p in self.points for v in p] + ([] if self.z is None else [self.z]))

    @property
    def area(self) -> float:
        """Area in pixels squared (shoelace formula)."""
        p = np.asarray(self.points)
        q = np.roll(p, -1, axis=0)
        return float(abs(np.sum(p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1])) / 2)

    def box(self) -> Box:
        """The smallest box around it."""
        p = np.asarray(self.points)
        return Box(*map(float, (*p.min(axis=0), *p.max(axis=0))))

    def rasterise(self, height: int, width: int) -> Mask:
        """Pixels whose centre lies inside (even-odd rule), as a mask of `height` x `width`."""
        inside = np.zeros((height, width), bool)
        p = np.asarray(self.points)
        q = np.roll(p, -1, axis=0)
        centres_x = np.arange(width) + 0.5
        for row in range(max(0, int(p[:, 1].min() - 1)), min(height, int(p[:, 1].max() + 2))):
            y = row + 0.5
            crosses = (p[:, 1] <= y) != (q[:, 1] <= y)
            if not crosses.any():
                continue
            a, b = p[crosses], q[crosses]
            at = np.sort(a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1]))
            inside[row] = np.searchsorted(at, centres_x, side="right") % 2 == 1
        return Mask.from_array(inside)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, `{"type": "polygon", "points": [[x, y], ...][, "z"]}`."""
        out: dict[str, Any] = {"type": "polygon", "points": [list(p) for p in self.points]}
        return out if self.z is None else {**out, "z": self.z}


@dataclass(frozen=True, slots=True)
class Mask:
    """A binary mask as run lengths over the array in C order, starting with a run of zeros.

    Args:
        shape: `(H, W)`, `(D, H, W)` or `(T, H, W)`.
        runs: Lengths of alternating runs of 0 and 1; the first run counts zeros and may be 0. They sum to the
            number of pixels.
    """

    shape: tuple[int, ...]
    runs: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(operator.index(n) for n in self.shape))
        object.__setattr__(self, "runs", tuple(operator.index(n) for n in self.runs))
        if any(n < 0 for n in self.runs) or any(n < 0 for n in self.shape):
            raise BadInputError("mask has a negative length", item=f"shape {self.shape}")
        size = math.prod(self.shape)  # Python's integers: a stranger's shape must not overflow to a small number
        if sum(self.runs) != size:
            raise BadInputError(
                "mask run lengths do not cover the image",
                item=f"shape {self.shape}",
                why=f"runs sum to {sum(self.runs)}, the image has {size} pixels",
            )

    @classmethod
    def from_array(cls, array: npt.ArrayLike) -> Mask:
        """From an array of any shape; everything that is not 0 is inside."""
        a = np.asarray(array)
        flat = np.ascontiguousarray(a != 0).ravel()
        if flat.size == 0:
            return cls(a.shape, ())
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        bounds = np.concatenate(([0], edges, [flat.size]))
        runs = np.diff(bounds).tolist()
        return cls(a.shape, tuple([0, *runs] if flat[0] else runs))

    def to_array(self) -> BoolArray:
        """The mask as a boolean array of `shape`."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(values, np.asarray(self.runs, dtype=np.int64)).reshape(self.shape)

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return sum(self.runs[1::2])

    def box(self) -> Box | None:
        """The smallest box around the pixels inside, or None when there are none."""
        where = np.nonzero(self.to_array())
        if where[0].size == 0:
            return None
        low = [float(w.min()) for w in where]
        high = [float(w.max()) + 1.0 for w in where]
        if len(self.shape) == 3:
            return Box(low[2], low[1], high[2], high[1], low[0], high[0])
        return Box(low[1], low[0], high[1], high[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain data, `{"type": "mask", "shape", "runs"}`."""
        return {"type": "mask", "shape": list(self.shape), "runs": list(self.runs)}


Geometry = Point | Box | Polygon | Mask


def geometry_from_dict(data: Mapping[str, Any]) -> Geometry:
    """Read back what `to_dict` of a point, box, polygon or mask wrote.

    Raises:
        BadInputError: The type is not known or a field is missing.
    """
    fields = dict(data)
    kind = fields.pop("type", None)
    try:
        if kind == "point":
            return Point(**fields)
        if kind == "box":
            return Box(**fields)
        if kind == "polygon":
            return Polygon(tuple((p[0], p[1]) for p in fields.pop("points")), **fields)
        if kind == "mask":
            return Mask(tuple(fields["shape"]), tuple(fields["runs"]))
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise BadInputError("cannot read a region's geometry", item=str(kind), why=str(error)) from error
    raise BadInputError(
        "cannot read a region's geometry", item=repr(kind), why="type must be point, box, polygon or mask"
    )


@dataclass(frozen=True)
class Affine:
    """Affine from array indices to patient millimetres in **LPS** (as DICOM: +x left, +y posterior, +z head).

    `matrix` is 4 x 4 and maps the column `(i, j, k, 1)` of *array* indices (first axis first: slice, row, column for
    a `(D, H, W)` volume) to `(x, y, z, 1)` in mm. NIfTI's RAS differs by the sign of x and y: `from_ras`, `to_ras`.
    """

    matrix: FloatArray

    def __post_init__(self) -> None:
        m = np.array(self.matrix, dtype=np.float64) + 0.0  # -0.0 becomes 0.0, so that equal ones have equal hashes
        if m.shape != (4, 4):
            raise BadInputError("affine is not 4 x 4", item=f"shape {m.shape}")
        if not np.isfinite(m).all():
            raise BadInputError("affine is not finite", item=np.array2string(m, precision=3))
        if not np.allclose(m[3], (0, 0, 0, 1)):
            raise BadInputError("affine's last row is not 0 0 0 1", item=str(m[3].tolist()))
        # Unit columns: whether axes span the space does not depend on how small a voxel is.
        steps = np.linalg.norm(m[:3, :3], axis=0)
        if not (steps > 0).all() or abs(np.linalg.det(m[:3, :3] / steps)) < 1e-9:
            raise BadInputError("affine is singular", item=np.array2string(m, precision=3), why="it has no inverse")
        m.flags.writeable = False
        object.__setattr__(self, "matrix", m)

    @classmethod
    def from_spacing(cls, spacing: Sequence[float], origin: Sequence[float] = (0.0, 0.0, 0.0)) -> Affine:
        """Axis-aligned `(slice, row, column)` spacing in mm, for a volume with no orientation of its own.

        Slices run to the head (+z), rows to the back (+y), columns to the patient's left (+x).
        """
        m = np.zeros((4, 4))
        m[2, 0], m[1, 1], m[0, 2] = spacing
        m[:3, 3], m[3, 3] = origin, 1.0
        return cls(m)

    @classmethod
    def from_ras(cls, matrix: npt.ArrayLike) -> Affine:
        """From a matrix to RAS mm, as NIfTI has it."""
        return cls(np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(matrix, dtype=np.float64))

    def to_ras(self) -> FloatArray:
        """The matrix to RAS mm, as NIfTI wants it."""
        return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.matrix)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres for one step along each array axis."""
        s = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return (float(s[0]), float(s[1]), float(s[2]))

    def to_patient(self, index: npt.ArrayLike) -> FloatArray:
        """`(..., 3)` array indices to `(..., 3)` LPS mm."""
        i = np.asarray(index, dtype=np.float64)
        return np.asarray(i @ self.matrix[:3, :3].T + self.matrix[:3, 3])

    def to_index(self, position: npt.ArrayLike) -> FloatArray:
        """`(..., 3)` LPS mm to `(..., 3)` array indices (not rounded)."""
        inverse = np.linalg.inv(self.matrix)
        p = np.asarray(position, dtype=np.float64)
        return np.asarray(p @ inverse[:3, :3].T + inverse[:3, 3])

    def axis_codes(self) -> str:
        """Anatomical direction of each array axis, three of `L R P A H F`, e.g. `HPL`."""
        codes = ["LR", "PA", "HF"]
        m = self.matrix[:3, :3] / np.linalg.norm(self.matrix[:3, :3], axis=0)
        out, free = ["", "", ""], {0, 1, 2}
        # The strongest pairs first, so that an oblique axis never takes the direction of a straighter one.
        for flat in np.argsort(-np.abs(m), axis=None, kind="stable"):
            world, axis = divmod(int(flat), 3)
            if world in free and not out[axis]:
                out[axis] = codes[world][0 if m[world, axis] > 0 else 1]
                free.remove(world)
        return "".join(out)

    def after(self, index_map: npt.ArrayLike) -> Affine:
        """The affine of a new array whose indices `new` come from `old = index_map @ new` (4 x 4)."""
        return Affine(self.matrix @ np.asarray(index_map, dtype=np.float64))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Affine) and bool(np.array_equal(self.matrix, other.matrix))

    def __hash__(self) -> int:
        return hash(self.matrix.tobytes())

    def to_dict(self) -> list[list[float]]:
        """The matrix as nested lists."""
        return [[float(v) for v in row] for row in self.matrix]


def _finite(what: str, values: Sequence[float]) -> None:
    if not all(np.isfinite(v) for v in values):
        raise BadInputError(f"{what} is not finite", item=str(list(values)))
