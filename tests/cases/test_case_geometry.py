"""Geometry held against matplotlib's path, NumPy arrays and nibabel's orientation codes."""

from __future__ import annotations

import itertools
import json

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.path import Path as Outline

from vesalius.cases import Affine, Box, Mask, Point, Polygon, geometry_from_dict
from vesalius.errors import BadInputError

number = st.floats(-1e4, 1e4, allow_nan=False)
length = st.floats(0, 1e4, allow_nan=False)
slices = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (float(p[0]), float(sum(p))))


@st.composite
def boxes(draw, deep=True):
    x, y = draw(number), draw(number)
    z = draw(st.none() | slices) if deep else None
    return Box(x, y, x + draw(length), y + draw(length), *(z or (None, None)))


points = st.builds(Point, number, number, st.none() | number)
polygons = st.builds(
    Polygon, st.lists(st.tuples(number, number), min_size=3, max_size=12).map(tuple), st.none() | number
)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)).map(Mask.from_array)


@given(st.one_of(points, boxes(), polygons, masks))
def test_geometry_survives_json(geometry):
    text = json.dumps(geometry.to_dict(), allow_nan=False)
    assert geometry_from_dict(json.loads(text)) == geometry


@given(hnp.arrays(np.int16, hnp.array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(-1, 1)))
def test_mask_is_the_array(array):
    mask = Mask.from_array(array)
    inside = array != 0
    assert np.array_equal(mask.to_array(), inside)
    assert mask.area == inside.sum()
    # Runs alternate, start with zeros, and only the first may be empty.
    assert all(n > 0 for n in mask.runs[1:])
    assert mask.runs[0] == np.argmax(inside.ravel()) if inside.any() else mask.runs == (inside.size,)
    box = mask.box()
    if not inside.any():
        assert box is None
        return
    axes = [inside.any(axis=tuple(a for a in range(inside.ndim) if a != k)) for k in range(inside.ndim)]
    low = [int(np.flatnonzero(a)[0]) for a in axes]
    high = [int(np.flatnonzero(a)[-1]) + 1 for a in axes]
    assert [box.y0, box.x0] == low[-2:]
    assert [box.y1, box.x1] == high[-2:]
    assert (box.z0, box.z1) == ((low[0], high[0]) if inside.ndim == 3 else (None, None))


def test_mask_box_is_half_open():
    array = np.zeros((5, 7), bool)
    array[1:3, 2:6] = True
    assert Mask.from_array(array).box() == Box(2, 1, 6, 3)
    assert array[1:3, 2:6].sum() == Box(2, 1, 6, 3).area


@pytest.mark.parametrize(
    ("shape", "runs"),
    [
        ((2, 3), (5,)),
        ((2, 3), (7,)),
        ((2, 3), (-1, 7)),
        ((-2, -3), (6,)),
        # The product of this shape is 0 in 64 bits.
        ((2**32, 2**32), ()),
    ],
)
def test_mask_whose_runs_do_not_cover_the_image_is_refused(shape, runs):
    with pytest.raises(BadInputError):
        Mask(shape, runs)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "circle", "r": 1},
        {"type": "point", "x": 1},
        {"type": "point", "x": "a", "y": 1},
        {"type": "point", "x": float("nan"), "y": 1},
        {"type": "point", "x": 1, "y": 1, "z": float("inf")},
        {"type": "box", "x0": 0, "y0": 0, "x1": 1},
        {"type": "box", "x0": 2, "y0": 0, "x1": 1, "y1": 1},
        {"type": "box", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "z0": 0},
        {"type": "box", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "z0": 2, "z1": 1},
        {"type": "box", "x0": 0, "y0": 0, "x1": float("inf"), "y1": 1},
        {"type": "box", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "colour": 1},
        {"type": "polygon", "points": [[0, 0], [1, 1]]},
        {"type": "polygon", "points": [[0, 0], [1, 1], [2]]},
        {"type": "polygon", "points": [[0, 0], [1, 1], [float("nan"), 2]]},
        {"type": "polygon", "points": [[0, 0], [1, 1], [0, 2]], "z": float("nan")},
        {"type": "polygon"},
        {"type": "mask", "shape": [2, 2], "runs": [1.5, 2.5]},
        {"type": "mask", "shape": [2, 2]},
        {"type": "mask", "shape": 4, "runs": [4]},
    ],
)
def test_wrong_geometry_is_refused(data):
    with pytest.raises(BadInputError):
        geometry_from_dict(data)


@given(boxes(deep=False), boxes(deep=False))
def test_iou_is_symmetric_and_bounded(a, b):
    assert a.iou(b) == b.iou(a)
    assert 0 <= a.iou(b) <= 1
    assert a.iou(a) == (1 if a.area > 0 else 0)


@given(*(st.integers(0, 8) for _ in range(8)))
def test_iou_counts_pixels_of_half_open_boxes(x0, y0, w0, h0, x1, y1, w1, h1):
    a, b = Box.from_xywh(x0, y0, w0, h0), Box.from_xywh(x1, y1, w1, h1)
    grid = np.zeros((2, 16, 16), bool)
    grid[0, y0 : y0 + h0, x0 : x0 + w0] = True
    grid[1, y1 : y1 + h1, x1 : x1 + w1] = True
    union = (grid[0] | grid[1]).sum()
    assert a.iou(b) == pytest.approx((grid[0] & grid[1]).sum() / union if union else 0)
    # A mirrored box covers the mirrored pixels, a clipped one those inside.
    mirrored = a.flipped(16)
    back = np.zeros((16, 16), bool)
    back[int(mirrored.y0) : int(mirrored.y1), int(mirrored.x0) : int(mirrored.x1)] = True
    assert np.array_equal(back, grid[0][:, ::-1])
    assert a.clipped(6, 5).area == grid[0][:6, :5].sum()


@given(boxes(), st.integers(1, 64), st.integers(1, 64))
def test_flips_and_scales_undo_themselves(box, sx, sy):
    twice = box.flipped(512).flipped(512)
    assert np.allclose([twice.x0, twice.x1], [box.x0, box.x1], atol=1e-8)
    assert (twice.y0, twice.y1, twice.z0) == (box.y0, box.y1, box.z0)
    scaled = box.scaled(sx, sy)
    assert scaled.area == pytest.approx(box.area * sx * sy, rel=1e-6, abs=1e-2)
    assert scaled.centre.x == pytest.approx(box.centre.scaled(sx, sy).x, rel=1e-6, abs=1e-6)
    assert scaled.scaled(1 / sx, 1 / sy).y1 == pytest.approx(box.y1, rel=1e-6, abs=1e-6)
    inside = box.clipped(100, 200)
    assert 0 <= inside.x0 <= inside.x1 <= 200
    assert 0 <= inside.y0 <= inside.y1 <= 100


def test_touching_boxes_do_not_overlap():
    assert Box(0, 0, 2, 2).iou(Box(2, 0, 4, 2)) == 0
    assert Box(0, 0, 2, 2).iou(Box(1, 0, 3, 2)) == pytest.approx(1 / 3)


@settings(max_examples=80)
@given(st.lists(st.tuples(st.floats(-4, 20), st.floats(-4, 20)), min_size=3, max_size=3))
def test_triangles_rasterise_as_matplotlib_says(corners):
    polygon = Polygon(tuple(corners))
    got = polygon.rasterise(16, 18).to_array()
    y, x = np.mgrid[:16, :18] + 0.5
    centres = np.stack([x.ravel(), y.ravel()], 1)
    closed = np.asarray([*corners, corners[0]])
    want = Outline(closed, closed=False).contains_points(centres).reshape(16, 18)
    # A centre on the outline itself may go either way.
    edge = np.zeros(len(centres), bool)
    for a, b in itertools.pairwise(closed):
        d = b - a
        t = np.clip(((centres - a) @ d) / max(float(d @ d), 1e-300), 0, 1)
        edge |= np.linalg.norm(centres - (a + t[:, None] * d), axis=1) < 1e-6
    assert np.array_equal(got[~edge.reshape(16, 18)], want[~edge.reshape(16, 18)])


def test_polygon_follows_the_even_odd_rule():
    # A five-pointed star drawn in one line: its middle is crossed twice and lies outside.
    angle = np.pi / 2 + 4 * np.pi / 5 * np.arange(5)
    star = Polygon(tuple((50 + 40 * np.cos(a), 50 - 40 * np.sin(a)) for a in angle))
    inside = star.rasterise(100, 100).to_array()
    assert not inside[50, 50]
    assert inside[15, 50]
    # Two windings of opposite sense joined at a corner: a square with a hole.
    hole = Polygon(((0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (3, 3), (3, 7), (7, 7), (7, 3), (3, 3)))
    assert hole.rasterise(10, 10).area == 100 - 16


@given(*(st.integers(0, 9) for _ in range(4)))
def test_a_rectangle_rasterises_to_its_half_open_box(x, y, w, h):
    polygon = Polygon(((x, y), (x + w, y), (x + w, y + h), (x, y + h)))
    want = np.zeros((20, 20), bool)
    want[y : y + h, x : x + w] = True
    assert np.array_equal(polygon.rasterise(20, 20).to_array(), want)
    assert polygon.area == w * h
    assert polygon.box() == Box(x, y, x + w, y + h)


@st.composite
def affines(draw):
    angles = draw(st.tuples(*(st.floats(-np.pi, np.pi),) * 3))
    turn = np.eye(3)
    for k, a in enumerate(angles):
        i, j = (k + 1) % 3, (k + 2) % 3
        r = np.eye(3)
        r[i, i] = r[j, j] = np.cos(a)
        r[i, j], r[j, i] = -np.sin(a), np.sin(a)
        turn = turn @ r
    m = np.eye(4)
    m[:3, :3] = turn @ np.diag(draw(st.tuples(*(st.floats(1e-4, 20),) * 3)))
    m[:3, 3] = draw(st.tuples(*(st.floats(-500, 500),) * 3))
    return Affine(m)


@given(affines(), hnp.arrays(np.float64, (4, 3), elements=st.floats(-600, 600)))
def test_affine_goes_to_the_patient_and_back(affine, index):
    position = affine.to_patient(index)
    homogeneous = np.concatenate([index, np.ones((4, 1))], 1) @ affine.matrix.T
    assert np.allclose(position, homogeneous[:, :3])
    assert np.allclose(affine.to_index(position), index, atol=1e-4)
    assert np.allclose(affine.spacing, np.linalg.norm(affine.matrix[:3, :3], axis=0))
    # RAS mm differ by the sign of x and y, and coming back gives the same affine.
    ras = homogeneous @ np.diag([-1, -1, 1, 1])
    assert np.allclose(np.concatenate([index, np.ones((4, 1))], 1) @ affine.to_ras().T, ras)
    assert Affine.from_ras(affine.to_ras()) == affine
    assert hash(Affine.from_ras(affine.to_ras())) == hash(affine)
    assert Affine(np.asarray(json.loads(json.dumps(affine.to_dict())))) == affine


def _codes(affine: Affine) -> str:
    """nibabel's codes for the same array: it speaks RAS+ ("S" is our "F"eet-to-"H"ead H)."""
    codes = nibabel.aff2axcodes(affine.to_ras())
    return "".join({"S": "H", "I": "F"}.get(c, c) for c in codes)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_axis_codes_of_the_48_orders_are_nibabels(order, signs):
    m = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        m[world, axis] = sign * (0.5 + axis)
    m[3, 3] = 1
    affine = Affine(m)
    assert affine.axis_codes() == _codes(affine)
    # The array may be stored the other way round (NIfTI's i first, our slice first): codes follow the axes.
    back = affine.after(np.eye(4)[[2, 1, 0, 3]])
    assert back.axis_codes() == affine.axis_codes()[::-1] == _codes(back)
    assert np.allclose(back.to_patient([1, 2, 3]), affine.to_patient([3, 2, 1]))


@given(affines())
def test_axis_codes_of_oblique_volumes_are_a_permutation(affine):
    codes = affine.axis_codes()
    assert sorted(next(p for p in ("LR", "AP", "FH") if c in p) for c in codes) == ["AP", "FH", "LR"]
    unit = np.abs(affine.matrix[:3, :3]) / affine.spacing
    assume((np.sort(unit, axis=0)[2] > 0.8).all())  # clear cases, in which no rule can differ
    assert codes == _codes(affine)


def test_from_spacing_is_in_array_order():
    affine = Affine.from_spacing((5, 2, 1), (10, 20, 30))
    assert affine.axis_codes() == "HPL"
    assert affine.spacing == (5, 2, 1)
    assert affine.to_patient([1, 1, 1]).tolist() == [11, 22, 35]


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((4, 4)),
        np.eye(3),
        np.diag([1, 1, 0, 1]),
        np.diag([1, np.nan, 1, 1]),
        np.diag([1, np.inf, 1, 1]),
        np.diag([1, 1, 1, 2]),
        # Two axes along one direction, in large voxels: the determinant is rounding error times 1e9.
        [[700, 700 * (1 + 1e-15), 0, 0], [300, 300, 0, 0], [0, 0, 1000, 0], [0, 0, 0, 1]],
    ],
)
def test_affine_without_an_inverse_is_refused(matrix):
    with pytest.raises(BadInputError):
        Affine(np.asarray(matrix, float))


def test_very_small_voxels_have_an_affine():
    # Electron microscopy: 4 nm = 4e-6 mm.
    affine = Affine.from_spacing((4e-6, 4e-6, 4e-6))
    assert np.allclose(affine.to_index(affine.to_patient([3, 5, 7])), [3, 5, 7])


def test_equal_affines_have_equal_hashes():
    a, b = np.eye(4), np.eye(4)
    b[0, 1] = -0.0
    assert Affine(a) == Affine(b)
    assert hash(Affine(a)) == hash(Affine(b))


def test_affine_cannot_be_changed_from_outside():
    m = np.eye(4)
    affine = Affine(m)
    m[0, 0] = 5
    assert affine.matrix[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 5
