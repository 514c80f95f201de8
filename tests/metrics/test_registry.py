from __future__ import annotations

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.metrics.detection.average_precision import ImageBoxes
from vesalius.metrics.detection.froc import FrocImage
from vesalius.metrics.registry import Metric, all_metrics, get

Y = np.array([0, 0, 1, 1, 0, 1])
GOOD, BAD = np.array([0.1, 0.2, 0.8, 0.9, 0.3, 0.7]), np.array([0.9, 0.8, 0.2, 0.1, 0.4, 0.6])
NUMBERS = np.array([1.0, 2.0, 3.0, 4.0])
MASK = np.zeros((12, 12), bool)
MASK[2:6, 2:6] = True
MOVED = np.roll(MASK, (4, 5), axis=(0, 1))
MAP, MOVED_MAP = MASK.astype(int), MOVED.astype(int)
BOX, FAR = [[0, 0, 10, 10]], [[30, 30, 50, 40]]
TEXT, OTHER = ["no pleural effusion is seen today", "stable large heart of the patient"], ["αβγ", "worsened"]
EDEMA, CLEAR = [{"Edema": 1}, {"Edema": 0}], [{"Edema": 0}, {"Edema": 1}]
HOT, COLD = [{"liver": "increased"}], [{"liver": "decreased"}]
SETS, ALIEN = [{("effusion", "present")}], [{("edema", "present")}]
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(40, 3))
NEAR, AWAY = REAL + 0.01, RNG.normal(9, 1, (40, 3))
PICTURE = RNG.random((180, 180))
RANK_GOOD, RANK_BAD = [[1, 1, 0, 0]], [[0, 0, 1, 1]]


# Every metric: inputs of a good and of a bad result.
EXAMPLES = {
    **dict.fromkeys(("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv"), ((Y, GOOD), (Y, BAD))),
    **dict.fromkeys(("brier", "log_loss", "ece", "ace", "mce"), ((Y, GOOD), (Y, BAD))),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "mcc", "kappa"), ((Y, Y), (Y, 1 - Y))),
    **dict.fromkeys(
        ("multilabel_auroc", "multilabel_auprc", "multilabel_f1"),
        ((np.c_[Y, 1 - Y], np.c_[GOOD, 1 - GOOD]), (np.c_[Y, 1 - Y], np.c_[BAD, 1 - BAD])),
    ),
    **dict.fromkeys(("mae", "rmse", "r2", "within"), ((NUMBERS, NUMBERS + 0.1), (NUMBERS, NUMBERS[::-1] * 9))),
    **dict.fromkeys(("precision_at_k", "recall_at_k", "hit_at_k"), ((RANK_GOOD, 1), (RANK_BAD, 1))),
    **dict.fromkeys(("map", "mrr", "ndcg"), ((RANK_GOOD,), (RANK_BAD,))),
    **dict.fromkeys(("box_iou", "box_giou"), ((BOX[0], BOX[0]), (BOX[0], FAR[0]))),
    "detection_map": (([ImageBoxes(BOX)], [ImageBoxes(BOX)]), ([ImageBoxes(FAR)], [ImageBoxes(BOX)])),
    "froc": (([FrocImage(np.array([[True]]), np.ones(1))],), ([FrocImage(np.array([[False]]), np.ones(1))],)),
    **{n: (([BOX], BOX), ([FAR], BOX)) for n in ("grounding_accuracy", "mean_iou")},
    **{n: (([BOX], [BOX]), ([FAR], [BOX])) for n in ("mean_best_iou", "region_f1")},
    "pointing_game": (([[5, 5]], [BOX]), ([[90, 90]], [BOX])),
    **{n: (([[[5, 5]]], [[[6, 5]]]), ([[[5, 5]]], [[[90, 90]]])) for n in ("matching_accuracy", "point_f1")},
    **dict.fromkeys(("count_mae", "count_mse"), ((NUMBERS, NUMBERS), (NUMBERS, NUMBERS + 3))),
    **dict.fromkeys(("dice", "mask_iou", "dice_thresholds"), ((MASK, MASK), (MOVED, MASK))),
    **dict.fromkeys(("hausdorff", "hd95", "assd", "nsd"), ((MASK, MASK), (MOVED, MASK))),
    **dict.fromkeys(("panoptic_quality", "aji"), ((MAP, MAP), (MOVED_MAP, MAP))),
    **dict.fromkeys(
        (
            "bleu",
            "rouge_1",
            "rouge_2",
            "rouge_l",
            "rouge_l_coco",
            "meteor",
            "cider",
            "cider_d",
            "chrf",
            "token_f1",
            "token_recall",
            "exact_match",
            "temporal_f1",
        ),
        ((TEXT, TEXT), (OTHER, TEXT)),
    ),
    "label_f1": ((EDEMA, EDEMA), (CLEAR, EDEMA)),
    **dict.fromkeys(("entity_f1", "relation_f1"), ((SETS, SETS), (ALIEN, SETS))),
    "radgraph_f1": (([(SETS[0], SETS[0])], [(SETS[0], SETS[0])]), ([(ALIEN[0], set())], [(SETS[0], SETS[0])])),
    "uptake_f1": ((HOT, HOT), (COLD, HOT)),
    "report_composite": (({"a": [1.0]},), ({"a": [0.0]},)),
    "choice_accuracy": ((["A"], ["A"], [("x", "y")]), (["B"], ["A"], [("x", "y")])),
    **dict.fromkeys(
        ("fid", "kid", "generative_precision", "generative_recall", "density", "coverage"), ((REAL, NEAR), (REAL, AWAY))
    ),
    "clip_score": ((REAL, NEAR), (REAL, -REAL)),
    "ms_ssim": ((PICTURE, PICTURE), (PICTURE, 1 - PICTURE)),
}


def check_metric(metric: Metric, good: tuple, bad: tuple) -> None:
    """What every metric must keep: a full description, its range, its direction, and named errors."""
    for field in ("name", "definition", "source", "unit", "edge_cases"):
        assert getattr(metric, field).strip(), f"{metric.name}: {field} is empty"
    assert metric.definition.endswith(".")
    assert metric.function.__doc__
    assert metric.range[0] < metric.range[1]
    json.dumps(metric.to_dict(), allow_nan=False)
    best, worst = metric(*good), metric(*bad)
    assert type(best) is float, f"{metric.name} gives {type(best)}"
    for value in (best, worst):
        assert metric.range[0] - 1e-9 <= value <= metric.range[1] + 1e-9
    if metric.higher_is_better is not None:
        assert (best > worst) == metric.higher_is_better
        assert best != worst
    assert metric(*good) == best, "the value must repeat"
    first = inspect.signature(metric.function).parameters
    assert list(first), "a metric takes its inputs by position"


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: m.name)
def test_every_metric_keeps_its_promises(metric):
    assert metric.name in EXAMPLES, f"add an example of {metric.name}"
    check_metric(metric, *EXAMPLES[metric.name])


NAN = np.array([0.1, np.nan, 0.8, 0.9, 0.3, 0.7])


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: m.name)
def test_empty_input_is_a_named_error(metric):
    good = EXAMPLES[metric.name][0]
    if metric.name in ("report_composite", "box_iou", "box_giou"):
        empty: tuple = ({},) if metric.name == "report_composite" else ([], [])
    else:
        empty = tuple(
            type(part)([]) if isinstance(part, list) else part[:0] if hasattr(part, "shape") else part for part in good
        )
    with pytest.raises(VesaliusError):
        metric(*empty)


@pytest.mark.parametrize(
    "name", ["auroc", "auprc", "brier", "log_loss", "ece", "sensitivity", "mae", "r2", "count_mae"]
)
def test_nan_is_a_named_error(name):
    with pytest.raises(BadInputError, match="NaN"):
        get(name)(Y, NAN)


def test_listing_needs_no_scipy_and_names_every_metric_once():
    code = (
        "import sys; from vesalius.metrics.registry import all_metrics; names=[m.name for m in all_metrics()];"
        "assert len(names)==len(set(names)); print(len(names), 'scipy' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, scipy, torch = done.stdout.split()
    assert int(count) == len(EXAMPLES)
    assert (scipy, torch) == ("False", "False")


def test_unknown_names_are_met_with_the_nearest():
    assert get("dice").higher_is_better is True
    with pytest.raises(UsageError, match="auroc"):
        get("aurok")
