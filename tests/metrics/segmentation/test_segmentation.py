from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.segmentation import instances, surfels
from vesalius.metrics.segmentation import masks as segmentation


@st.composite
def masks(draw, ndim=None, blob=True):
    """Two non-empty masks, ragged or smooth, touching the border or not, with a spacing."""
    dims = ndim or draw(st.sampled_from([2, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shape = tuple(rng.integers(3, 12, dims))
    if draw(st.booleans()) and blob:
        grid = np.indices(shape).reshape(dims, -1).T
        pair = [np.linalg.norm(grid - rng.uniform(0, shape), axis=1).reshape(shape) < rng.uniform(1, 6) for _ in "ab"]
    else:
        share = rng.uniform(0.02, 0.9)
        pair = [rng.random(shape) < share for _ in "ab"]
    for mask in pair:
        mask[tuple(rng.integers(0, shape))] = True
    return pair[0], pair[1], tuple(rng.choice([0.5, 1.0, 1.7, 3.0], dims))


def edge_points(mask, spacing):
    """Voxels with a face neighbour outside, one by one."""
    points = []
    for place in np.argwhere(mask):
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            other = place.copy()
            other[axis] += step
            if (other < 0).any() or (other >= mask.shape).any() or not mask[tuple(other)]:
                points.append(place * np.array(spacing))
                break
    return np.array(points)


@settings(max_examples=60)
@given(masks(), st.floats(0, 5))
def test_edge_scores_equal_brute_force(case, tolerance):
    a, b, spacing = case
    distance = cdist(edge_points(a, spacing), edge_points(b, spacing))
    one, two = distance.min(axis=1), distance.min(axis=0)
    ours = segmentation.surface_scores(a, b, spacing, tolerances=(tolerance,))
    assert ours.hd == pytest.approx(max(one.max(), two.max()))
    assert ours.hd95 == pytest.approx(max(np.percentile(one, 95), np.percentile(two, 95)))
    assert ours.assd == pytest.approx(np.concatenate([one, two]).mean())
    assert ours.masd == pytest.approx((one.mean() + two.mean()) / 2)
    limit = tolerance * (1 + 1e-9)
    assert ours.nsd[tolerance] == pytest.approx(((one <= limit).sum() + (two <= limit).sum()) / (len(one) + len(two)))
    assert ours.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert ours.iou == pytest.approx((a & b).sum() / (a | b).sum())
    assert (segmentation.dice(a, b), segmentation.mask_iou(a, b)) == (ours.dice, ours.iou)


@settings(max_examples=25)
@given(masks())
def test_edge_scores_equal_monai(case):
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    a, b, spacing = case
    one, two = torch.tensor(a)[None, None], torch.tensor(b)[None, None]
    ours = segmentation.surface_scores(a, b, spacing, tolerances=(1.25,))
    options = {"include_background": True, "spacing": [float(v) for v in spacing]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hd = float(monai.compute_hausdorff_distance(one, two, **options))
        hd95 = float(monai.compute_hausdorff_distance(one, two, percentile=95, **options))
        average = float(monai.compute_average_surface_distance(one, two, symmetric=True, **options))
        surface = float(monai.compute_surface_dice(one, two, [1.25], **options))
    assert ours.hd == pytest.approx(hd, rel=1e-5, abs=1e-6)
    assert ours.hd95 == pytest.approx(hd95, rel=1e-5, abs=1e-6)
    assert ours.assd == pytest.approx(average, rel=1e-5, abs=1e-6)
    assert ours.nsd[1.25] == pytest.approx(surface, rel=1e-5)


@settings(max_examples=40)
@given(masks())
def test_surfel_scores_equal_surface_distance(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("surface_distance")
        a, b, spacing = case
        table = peer.compute_surface_distances(b, a, spacing)
        expected = {p: peer.compute_robust_hausdorff(table, p) for p in (95, 100)}
        to_pred, to_true = peer.compute_average_surface_distance(table)
        surface = peer.compute_surface_dice_at_tolerance(table, 1.25)
    ours = segmentation.surface_scores(a, b, spacing, definition="surfel", tolerances=(1.25,))
    assert ours.hd == pytest.approx(expected[100])
    assert ours.hd95 == pytest.approx(expected[95])
    assert ours.masd == pytest.approx((to_pred + to_true) / 2)
    assert ours.nsd[1.25] == pytest.approx(surface)


@settings(max_examples=40)
@given(masks(), st.sampled_from(["edge", "surfel"]))
def test_both_ways_to_find_distances_agree(case, definition):
    a, b, spacing = case
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for cost in (0.0, 1e12):
            patch.setattr(segmentation, "_TREE_COST", cost)
            results.append(segmentation.surface_scores(a, b, spacing, definition=definition, tolerances=(0.5, 2.0)))
    tree, transform = results
    assert tree.method in ("kd-tree", "identical surfaces")
    assert transform.method in ("distance transform", "identical surfaces")
    for name in ("hd", "hd95", "assd", "masd"):
        assert getattr(tree, name) == pytest.approx(getattr(transform, name))
    assert tree.nsd == pytest.approx(transform.nsd)


@settings(max_examples=40)
@given(masks(), st.sampled_from(["edge", "surfel"]))
def test_symmetry_padding_scaling_and_axis_order(case, definition):
    a, b, spacing = case
    base = segmentation.surface_scores(a, b, spacing, definition=definition)
    names = ("dice", "hd", "hd95", "assd", "masd")
    variants = {
        "swapped": segmentation.surface_scores(b, a, spacing, definition=definition),
        "padded": segmentation.surface_scores(np.pad(a, 3), np.pad(b, 3), spacing, definition=definition),
        "turned": segmentation.surface_scores(a.T, b.T, spacing[::-1], definition=definition),
        "mirrored": segmentation.surface_scores(a[::-1], b[::-1], spacing, definition=definition),
    }
    for kind, other in variants.items():
        for name in names:
            assert getattr(other, name) == pytest.approx(getattr(base, name)), kind
        assert other.nsd == pytest.approx(base.nsd), kind
    doubled = segmentation.surface_scores(a, b, [2 * s for s in spacing], definition=definition, tolerances=(2.0,))
    assert doubled.hd95 == pytest.approx(2 * base.hd95)
    assert doubled.nsd[2.0] == pytest.approx(base.nsd[1.0])
    same = segmentation.surface_scores(a, a, spacing, definition=definition)
    assert (same.hd, same.assd, same.nsd[1.0], same.dice) == (0.0, 0.0, 1.0, 1.0)


def test_the_two_definitions_differ_as_the_peers_do():
    a, b = np.zeros((40, 40, 40), bool), np.zeros((40, 40, 40), bool)
    a[5:30, 5:30, 5:30], b[8:36, 5:30, 5:31] = True, True
    edge = segmentation.surface_scores(a, b)
    surfel = segmentation.surface_scores(a, b, definition="surfel")
    assert edge.definition == "edge"
    assert edge.nsd[1.0] != pytest.approx(surfel.nsd[1.0], abs=1e-3)
    assert segmentation.hd95(a, b) == edge.hd95
    assert segmentation.assd(a, b, definition="surfel") == surfel.assd
    assert segmentation.hausdorff(a, b) == edge.hd
    assert segmentation.nsd(a, b, 1.0) == edge.nsd[1.0]


def test_surface_areas_by_hand():
    cube = np.ones((1, 1, 1), bool)
    cells, areas = surfels.surface_elements(cube, np.ones(3))
    assert cells.shape == (2, 2, 2)
    np.testing.assert_allclose(areas, np.sqrt(3) / 8)  # eight corners of an octahedron
    slab = np.ones((4, 20, 30), bool)
    cells, areas = surfels.surface_elements(slab, np.array([1.0, 0.5, 2.0]))
    inner = cells[0, 2:-2, 2:-2]
    assert inner.all()
    flat = np.zeros(cells.shape)
    flat[cells] = areas
    np.testing.assert_allclose(flat[0, 2:-2, 2:-2], 0.5 * 2.0)
    cells, lengths = surfels.surface_elements(np.ones((3, 4), bool), np.array([2.0, 1.0]))
    expected = 2 * (3 - 1) * 2.0 + 2 * (4 - 1) * 1.0 + 4 * np.hypot(2, 1) / 2
    assert lengths.sum() == pytest.approx(expected)


def test_the_surface_of_a_sphere_is_near_its_area():
    grid = np.indices((60, 60, 60)) - 29.5
    ball = (grid**2).sum(axis=0) <= 25**2
    _, areas = surfels.surface_elements(ball, np.ones(3))
    assert areas.sum() == pytest.approx(4 * np.pi * 25**2, rel=0.1)
    _, inverse = surfels.surface_elements(~ball[1:-1, 1:-1, 1:-1], np.ones(3))
    frame = 6 * 57**2 + 12 * 57 * np.sqrt(2) / 2 + 8 * np.sqrt(3) / 8  # faces, cut edges, cut corners of the outer box
    assert inverse.sum() - areas.sum() == pytest.approx(frame)


def test_empty_masks_follow_the_stated_policy():
    full, none = np.ones((3, 4), bool), np.zeros((3, 4), bool)
    for a, b, which in ((none, none, "both"), (none, full, "prediction"), (full, none, "truth")):
        with pytest.raises(BadInputError, match=which):
            segmentation.hd95(a, b)
    both = segmentation.surface_scores(none, none, empty="penalty")
    assert (both.dice, both.hd95, both.nsd[1.0]) == (1.0, 0.0, 1.0)
    one = segmentation.surface_scores(none, full, (3.0, 1.0), empty="penalty")
    assert (one.dice, one.nsd[1.0]) == (0.0, 0.0)
    assert one.hd95 == pytest.approx(np.hypot(9, 4))
    blank = segmentation.surface_scores(full, none, empty="nan")
    assert np.isnan(blank.hd)
    assert blank.dice == 0.0
    assert json.loads(json.dumps(blank.to_dict()))["hd95"] is None
    assert segmentation.dice(none, none) == 1.0
    assert segmentation.mask_iou(none, full) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "options", "reason"),
    [
        (np.ones((3, 3)), np.ones((3, 4)), {}, "shape"),
        (np.full((3, 3), 2), np.ones((3, 3)), {}, "0 and 1"),
        (np.full((3, 3), np.nan), np.ones((3, 3)), {}, "0 and 1"),
        (np.ones((0, 3)), np.ones((0, 3)), {}, "nothing"),
        (np.ones(5), np.ones(5), {}, "dimensions"),
        (np.ones((3, 3)), np.ones((3, 3)), {"spacing": (1, 1, 1)}, "axes"),
        (np.ones((3, 3)), np.ones((3, 3)), {"spacing": (1, 0)}, "positive"),
        (np.ones((3, 3)), np.ones((3, 3)), {"tolerances": (-1,)}, "tolerances"),
    ],
)
def test_unusable_masks_are_errors(a, b, options, reason):
    with pytest.raises(BadInputError, match=reason):
        segmentation.surface_scores(a, b, **options)


def test_unknown_options_are_usage_errors():
    mask = np.ones((3, 3), bool)
    with pytest.raises(UsageError):
        segmentation.surface_scores(mask, mask, definition="voxel")
    with pytest.raises(UsageError):
        segmentation.surface_scores(mask, mask, empty="ignore")


def test_label_maps_with_gaps():
    true = np.zeros((10, 10), int)
    true[1:4, 1:4], true[6:9, 6:9] = 3, 70
    found = true.copy()
    found[found == 70] = 200
    scores = segmentation.label_scores(found, true)
    assert set(scores) == {3, 70, 200}
    assert (scores[3].dice, scores[70].dice, scores[200].dice) == (1.0, 0.0, 0.0)
    assert scores[70].hd95 == pytest.approx(np.hypot(10, 10))
    assert set(segmentation.label_scores(found, true, labels=[3])) == {3}
    with pytest.raises(BadInputError, match="integers"):
        segmentation.label_scores(found * 0.5, true)


def test_dice_over_thresholds_as_published():
    true = np.array([[0, 1], [1, 0]])
    soft = np.array([[0.0, 0.4], [0.2, 0.0]])  # divided by .4: 1 and .5
    expected = (1 + 1 + 2 / 3 + 2 / 3 + 2 / 3) / 5
    assert segmentation.dice_thresholds(soft, true) == pytest.approx(expected)
    with pytest.raises(BadInputError):
        segmentation.dice_thresholds(-soft, true)


def instance_maps(seed):
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(2):
        labels = np.zeros((24, 24), int)
        for number in rng.choice(np.arange(1, 50), int(rng.integers(0, 5)), replace=False):
            y, x = rng.integers(0, 18, 2)
            labels[y : y + rng.integers(3, 10), x : x + rng.integers(3, 10)] = number
        maps.append(labels)
    if rng.random() < 0.7:
        maps[1][2:20, 2:9] = maps[0][2:20, 2:9]
    return maps


@given(st.integers(0, 10**6))
def test_instance_scores_equal_their_definitions(seed):
    found, true = instance_maps(seed)
    a = [found == v for v in np.unique(found) if v]
    b = [true == v for v in np.unique(true) if v]
    iou = np.array([[(p & t).sum() / (p | t).sum() for t in b] for p in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(instances.instance_iou(found, true), iou)
    matched = iou[iou > 0.5]
    ours = instances.panoptic(found, true)
    if a or b:
        assert ours.pq == pytest.approx(matched.sum() / (0.5 * len(a) + 0.5 * len(b)))
    else:
        assert ours.pq == 1.0
    inter = union = 0
    used = set()
    for j, t in enumerate(b):
        if len(a) and iou[:, j].max() > 0:
            i = int(iou[:, j].argmax())
            inter, union = inter + (a[i] & t).sum(), union + (a[i] | t).sum()
            used.add(i)
        else:
            union += t.sum()
    union += sum(p.sum() for i, p in enumerate(a) if i not in used)
    assert instances.aji(found, true) == pytest.approx(inter / union if union else 1.0)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_panoptic_quality_equals_torchmetrics(seed):
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.detection import panoptic_quality

    found, true = instance_maps(seed)
    if not found.any() and not true.any():
        return

    def pairs(labels):
        return torch.tensor(np.stack([(labels > 0).astype(int), labels], axis=-1))[None]

    peer = panoptic_quality(pairs(found), pairs(true), things={1}, stuffs={0}, return_per_class=True)
    assert instances.panoptic_quality(found, true) == pytest.approx(float(peer.ravel()[0]), rel=1e-6, abs=1e-6)


def test_unusable_instance_maps_are_errors():
    with pytest.raises(BadInputError, match="integers"):
        instances.aji(np.ones((2, 2)), np.ones((2, 2), int))
    with pytest.raises(BadInputError, match="shape"):
        instances.panoptic(np.ones((2, 2), int), np.ones((2, 3), int))
    with pytest.raises(BadInputError, match="unique"):
        instances.panoptic(np.ones((2, 2), int), np.ones((2, 2), int), threshold=0.3)
