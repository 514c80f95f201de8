from __future__ import annotations

import contextlib
import io
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.detection import average_precision as detection
from vesalius.metrics.detection import boxes, froc, grounding, pointing
from vesalius.metrics.detection.average_precision import ImageBoxes


def random_boxes(rng, n, size=100, small=40):
    start = rng.uniform(0, size - small, (n, 2)).round(1)
    return np.hstack([start, start + rng.uniform(5, small, (n, 2)).round(1)])


def scene(seed, images=6, classes=2, crowd=False):
    rng = np.random.default_rng(seed)
    truth, predicted = [], []
    for _ in range(images):
        true = random_boxes(rng, int(rng.integers(0, 6)))
        near = true + rng.normal(0, 3, true.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        found = np.vstack([near, random_boxes(rng, int(rng.integers(0, 4)))])
        labels = rng.integers(0, classes, len(true))
        guess = np.r_[labels, rng.integers(0, classes, len(found) - len(true))]
        flags = rng.random(len(true)) < 0.2 if crowd else None
        truth.append(ImageBoxes(true, labels, crowd=flags))
        predicted.append(ImageBoxes(found, guess, rng.random(len(found)).round(2)))
    return predicted, truth


def coco_peer(predicted, truth, area="all"):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    names = sorted({n for i in truth for n in i.names} | {n for i in predicted for n in i.names})
    annotations, results = [], []
    for index, (guess, true) in enumerate(zip(predicted, truth, strict=True)):
        for name in names:
            for box, _, crowd in zip(*true.of(name), strict=True):
                w, h = box[2:] - box[:2]
                row = {"image_id": index, "category_id": int(name), "bbox": [*box[:2], w, h], "area": w * h}
                annotations.append({**row, "iscrowd": int(crowd), "id": len(annotations) + 1})
            for box, score, _ in zip(*guess.of(name), strict=True):
                row = {"image_id": index, "category_id": int(name), "bbox": [*box[:2], *(box[2:] - box[:2])]}
                results.append({**row, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        data = coco.COCO()
        data.dataset = {
            "images": [{"id": i} for i in range(len(truth))],
            "categories": [{"id": int(n)} for n in names],
            "annotations": annotations,
        }
        data.createIndex()
        run = COCOeval(data, data.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
    place = ["all", "small", "medium", "large"].index(area)
    return run.eval["precision"][:, :, :, place, -1], run.eval["recall"][:, :, place, -1]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["all", "small", "medium"]))
def test_average_precision_equals_pycocotools(seed, crowd, area):
    predicted, truth = scene(seed, crowd=crowd)
    if not any(len(i.of(n)[0]) for i in predicted for n in i.names):
        return
    precision, recall = coco_peer(predicted, truth, area)
    known = precision > -1
    if not known.any():
        with pytest.raises(BadInputError, match="no true box"):
            detection.evaluate_detection(predicted, truth, area=area)
        return
    ours = detection.evaluate_detection(predicted, truth, area=area)
    assert ours.map == pytest.approx(precision[known].mean())
    assert ours.map_at[0.5] == pytest.approx(precision[0][known[0]].mean())
    assert ours.recall == pytest.approx(recall[recall > -1].mean())


def test_variants_on_a_hand_worked_ranking():
    # Three objects; detections right, wrong, right by falling score: recall 1/3, 1/3, 2/3 at precision 1, 1/2, 2/3.
    hit, score = [True, False, True], [0.9, 0.8, 0.7]
    assert detection.average_precision(hit, score, 3, "voc2010") == pytest.approx(1 / 3 + 2 / 9)
    assert detection.average_precision(hit, score, 3, "voc2007") == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert detection.average_precision(hit, score, 3, "coco") == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert detection.average_precision([], [], 3) == 0.0
    with pytest.raises(BadInputError):
        detection.average_precision([True], [0.5], 0)
    with pytest.raises(UsageError):
        detection.average_precision([True], [0.5], 1, "coco101")


def test_coco_and_voc_match_differently():
    # The second detection overlaps the taken box more than the free one: VOC calls it false, COCO gives it the free
    # box.
    truth = [ImageBoxes([[0, 0, 10, 10], [2, 0, 12, 10]])]
    predicted = [ImageBoxes([[0, 0, 10, 10], [0.5, 0, 10.5, 10]], scores=[0.9, 0.8])]
    assert detection.detection_map(predicted, truth, "coco50") == pytest.approx(1.0)
    assert detection.detection_map(predicted, truth, "voc2010") == pytest.approx(0.5)


def test_absent_classes_are_false_alarms_unless_only_presence_is_asked():
    truth = [ImageBoxes([[0, 0, 10, 10]], ["a"]), ImageBoxes([], [])]
    predicted = [ImageBoxes([[0, 0, 10, 10]], ["a"], [0.5]), ImageBoxes([[0, 0, 5, 5]], ["a"], [0.9])]
    assert detection.detection_map(predicted, truth, "coco50") == pytest.approx(0.5)
    assert detection.detection_map(predicted, truth, "presence50") == pytest.approx(1.0)
    with pytest.raises(UsageError):
        detection.detection_map(predicted, truth, "coco95")
    with pytest.raises(BadInputError, match="no true box"):
        detection.detection_map(predicted[1:], truth[1:])
    with pytest.raises(BadInputError, match="ends before"):
        ImageBoxes([[5, 5, 1, 1]])
    with pytest.raises(BadInputError, match="scores"):
        ImageBoxes([[0, 0, 1, 1]], scores=[0.1, 0.2])


@given(st.integers(0, 10**6))
def test_box_overlaps_equal_torchvision_definition(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, (2, 4)), rng.integers(0, 12, (2, 4))
    a, b = np.sort(a.reshape(2, 2, 2), axis=1).reshape(2, 4), np.sort(b.reshape(2, 2, 2), axis=1).reshape(2, 4)
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(12)), -1).reshape(-1, 2) + 0.5

    def cells(box):
        return set(map(tuple, grid[((grid > box[:2]) & (grid < box[2:])).all(axis=1)]))

    matrix, general = boxes.iou_matrix(a, b), boxes.giou_matrix(a, b)
    for i, j in itertools.product(range(2), range(2)):
        one, two = cells(a[i]), cells(b[j])
        union = len(one | two)
        expected = len(one & two) / union if union else 0.0
        hull = np.r_[np.minimum(a[i, :2], b[j, :2]), np.maximum(a[i, 2:], b[j, 2:])]
        area = float(np.prod(hull[2:] - hull[:2]))
        assert matrix[i, j] == pytest.approx(expected)
        assert boxes.iou(a[i], b[j]) == matrix[i, j]
        assert general[i, j] == pytest.approx(expected - ((area - union) / area if area else 0.0))
        assert -1 <= boxes.giou(b[j], a[i]) == pytest.approx(general[i, j])


@given(st.integers(0, 10**6))
def test_froc_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(5):
        marks, lesions = int(rng.integers(0, 6)), int(rng.integers(0, 3))
        images.append(froc.FrocImage(rng.random((marks, lesions)) < 0.3, rng.random(marks).round(1)))
    lesions = sum(i.hit.shape[1] for i in images)
    if not lesions:
        with pytest.raises(BadInputError, match="no lesion"):
            froc.froc_curve(images)
        return
    curve = froc.froc_curve(images)
    points = [(0.0, 0.0)]
    for t in np.unique(np.concatenate([i.score for i in images]))[::-1]:
        found = sum(int(i.hit[i.score >= t].any(axis=0).sum()) for i in images)
        wrong = sum(int((~i.hit[i.score >= t].any(axis=1)).sum()) for i in images)
        points.append((wrong / 5, found / lesions))
    for rate in (0.0, 0.2, 0.5, 1.0, 8.0):
        assert curve.at([rate])[0] == pytest.approx(max(s for f, s in points if f <= rate))
    assert froc.froc(images, [0.5, 1.0]) == pytest.approx(curve.at([0.5, 1.0]).mean())


def test_froc_judges_boxes_and_points():
    lesions = [[0, 0, 10, 10]]
    assert froc.FrocImage.from_boxes([[0, 0, 10, 6], [20, 20, 30, 30]], [1, 1], lesions).hit.tolist() == [
        [True],
        [False],
    ]
    by_centre = froc.FrocImage.from_boxes([[0, 0, 2, 2], [9, 9, 12, 12]], [1, 1], lesions, rule="centre")
    assert by_centre.hit.tolist() == [[True], [False]]
    by_point = froc.FrocImage.from_points([[0, 0, 3.0]], [1], [[0, 0, 0.0], [0, 0, 9.0]], [4, 4])
    assert by_point.hit.tolist() == [[True, False]]
    assert froc.FrocImage.from_points([], [], [[1, 1]], 3).hit.shape == (0, 1)
    with pytest.raises(BadInputError):
        froc.FrocImage.from_boxes([[0, 0, 2, 2]], [1, 2], lesions)


def test_grounding_scores_by_hand():
    truth = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]]
    predicted = [[[0, 0, 10, 5]], [], [[50, 50, 60, 60], [0, 0, 10, 10]]]
    assert grounding.single_ious(predicted, truth).tolist() == [0.5, 0.0, 0.0]
    assert grounding.grounding_accuracy(predicted, truth) == pytest.approx(1 / 3)
    assert grounding.grounding_accuracy(predicted, truth, pick="best") == pytest.approx(2 / 3)
    assert grounding.mean_iou(predicted, truth, pick="best") == pytest.approx(0.5)
    with pytest.raises(BadInputError):
        grounding.mean_iou([], [])


def test_regions_are_matched_one_to_one_and_the_published_names_are_kept_apart():
    predicted = [[[0, 0, 10, 10], [0, 0, 10, 10], [40, 40, 50, 50]], [[0, 0, 4, 4]]]
    truth = [[[0, 0, 10, 10]], [[0, 0, 4, 4], [20, 20, 30, 30]]]
    names = [["lung", "lung", "x"], ["Left lung"]]
    ours = grounding.region_scores(predicted, truth, predicted_names=names, true_names=[["heart"], ["lung", "y"]])
    assert (ours.matched, ours.precision, ours.recall) == (2, 0.5, pytest.approx(2 / 3))
    assert ours.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert ours.alignment == 0.5
    assert ours.published["precision"] == ours.recall
    # The published mean best IoU rewards the duplicate and does not see the missed box.
    assert grounding.mean_best_iou(predicted, truth) == pytest.approx((1 + 1 + 0 + 1) / 4)
    with pytest.raises(BadInputError):
        grounding.region_scores([[]], [[]])


@given(st.integers(0, 10**6))
def test_region_matching_is_the_best_assignment(seed):
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 3, 40, 30), random_boxes(rng, 3, 40, 30)
    overlap = boxes.iou_matrix(a, b)
    best = max(itertools.permutations(range(3)), key=lambda p: sum(overlap[i, p[i]] for i in range(3)))
    expected = sum(overlap[i, best[i]] >= 0.3 for i in range(3))
    assert grounding.region_scores([a], [b], threshold=0.3).matched == expected


def test_published_point_scores_and_what_they_miss():
    truth = [[[0, 0], [50, 50]], [[10, 10]], []]
    predicted = [[[0, 3], [0, 3], [0, 4]], [], [[5, 5]]]
    published = pointing.published_points(predicted, truth)
    assert published.matching_accuracy == 1.0  # three marks on one of two points
    assert published.point_mae == pytest.approx(10 / 3)
    assert (published.zero_cases, published.images) == (2, 3)
    ours = pointing.point_scores(predicted, truth)
    assert (ours.matched, ours.predicted, ours.true) == (1, 4, 3)
    assert ours.f1 == pytest.approx(2 / 7)
    assert ours.mean_distance == 3.0
    assert ours.empty_right == 0.0
    assert pointing.point_scores([[]], [[]]).f1 == 1.0
    with pytest.raises(BadInputError):
        pointing.matching_accuracy([[]], [[[1, 1]]])


@given(st.integers(0, 10**6))
def test_point_matching_takes_most_pairs_then_least_distance(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 20, (4, 2)), rng.uniform(0, 20, (3, 2))
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    best = (0, 0.0)
    for rows in itertools.permutations(range(4), 3):
        near = [distance[r, c] for c, r in enumerate(rows) if distance[r, c] < 6]
        best = max(best, (len(near), -sum(near)))
    ours = pointing.point_scores([a], [b], radius=6)
    assert ours.matched == best[0]
    if ours.matched:
        assert ours.mean_distance * ours.matched == pytest.approx(-best[1])


def test_pointing_game_and_counts():
    held = [[[0, 0, 10, 10]], [[0, 0, 10, 10], [20, 20, 30, 30]], [[0, 0, 10, 10]], [[0, 0, 10, 10]]]
    points = [[5, 5], [25, 25], [10, 5], [np.nan, np.nan]]
    assert pointing.pointing_game(points, held) == 0.5
    assert pointing.pointing_game(points, held, tolerance=1) == 0.75
    with pytest.raises(BadInputError, match="no true box"):
        pointing.pointing_game([[1, 1]], [[]])
    assert pointing.count_mae([1, 4], [2, 2]) == 1.5
    assert pointing.count_mse([1, 4], [2, 2]) == 2.5
    with pytest.raises(BadInputError):
        pointing.count_mae([1, 4], [2, np.nan])
    with pytest.raises(BadInputError):
        pointing.count_mae([1], [-1])
