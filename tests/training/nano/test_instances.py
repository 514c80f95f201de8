"""The box head: what is marked and what is surely absent, cut-outs, and a run from data to a head that loads."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from vesalius.cases import Box, Case, Image, Mask, Point, Region, Source
from vesalius.errors import BadInputError, MissingError
from vesalius.job import Job
from vesalius.models.nano.detect import FILE, DetectHead
from vesalius.models.nano.model import Nano
from vesalius.models.store import SHIPPED
from vesalius.systems.frame.frozen import frozen
from vesalius.training.nano import instances
from vesalius.training.nano.heads_card import heads_section, record
from vesalius.training.nano.instances import BoxRecipe, measure_boxes, train_boxes
from vesalius.training.nano.instances_measure import Blind, answers
from vesalius.training.nano.marked import Scene, Scenes, absent_from, cut_out, pieces, scene_of


def smear(name: str, cells: int = 2, dataset: str = "cbc") -> Case:
    rng = np.random.default_rng(cells)
    picture = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    regions = [Region(Box(10.0 * i, 10, 10.0 * i + 9, 20), "RBC", granularity="cell") for i in range(cells)]
    return Case(name, images=(Image(array=picture, modality="GM"),), regions=tuple(regions), source=Source(dataset))


def test_a_scene_holds_every_instance_once():
    mask = np.zeros((60, 80), bool)
    mask[10:20, 10:30] = mask[40:50, 50:70] = True
    mask[0, 0] = True  # a speck
    case = smear("kvasir-seg/0", 0, "kvasir-seg").replace(
        regions=(Region(Mask.from_array(mask), "polyp"), Region(Box(10, 10, 30, 20), "polyp"))
    )
    found = scene_of(case).boxes["polyp"] * [80, 60, 80, 60]
    assert sorted(found.round(3).tolist()) == [[10, 10, 30, 20], [50, 40, 70, 50]]
    assert pieces(mask, whole=True) == [(0, 0, 70, 50)]
    points = smear("chula-rbc12/0", 0, "chula-rbc12").replace(
        regions=(Region(Point(40, 30), "spherocyte"),), attributes={"complete": 1}
    )
    np.testing.assert_allclose(scene_of(points).boxes["RBC"], [[0.45, 0.45, 0.55, 0.55]])
    # Where not every cell is marked, an unmarked one would be taught as background.
    assert scene_of(points.replace(attributes={"complete": 0})) is None


def test_what_a_set_never_marks_is_absent_unless_it_may_be_there():
    picture = np.zeros((4, 4, 3), np.uint8)
    one = np.zeros((1, 4), np.float32)
    scenes = [
        Scene("a", "a", "cbc", picture, {"RBC": one, "WBC": one}),
        Scene("b", "b", "cbc", picture, {"RBC": one}),
        Scene("c", "c", "chula-rbc12", picture, {"RBC": one}),
        Scene("d", "d", "kvasir-seg", picture, {"polyp": one}),
        # A film shows a heart that nobody marked on it.
        Scene("e", "e", "cross-sections", picture, {"heart": one}),
        Scene("f", "f", "covid-cc-by", picture, {"lungs": one}),
    ]
    names = ["RBC", "WBC", "heart", "lungs", "lymphocyte", "polyp"]
    assert [sorted(a) for a in absent_from(scenes, names)] == [
        ["heart", "lungs", "polyp"], ["WBC", "heart", "lungs", "polyp"], ["heart", "lungs", "polyp"],
        ["RBC", "WBC", "lungs", "lymphocyte"], ["RBC", "WBC", "lymphocyte", "polyp"],
        ["RBC", "WBC", "lymphocyte", "polyp"],
    ]  # fmt: skip


def test_a_cut_out_keeps_boxes_on_what_they_mark():
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[40:50, 60:80] = 255
    scene = Scene("a", "a", "cbc", picture, {"RBC": np.asarray([[0.5, 0.4, 80 / 120, 0.5]], np.float32)})
    seen = 0
    for seed in range(20):
        cut = cut_out(scene, np.random.default_rng(seed))
        height, width = cut.picture.shape[:2]
        for box in cut.boxes["RBC"]:
            x0, y0, x1, y1 = (box * [width, height, width, height]).round().astype(int)
            inside = cut.picture[max(y0, 0) : y1, max(x0, 0) : x1, 0]
            assert inside.mean() > 200  # a pixel of rounding at each side of a cut
            seen += 1
    assert seen > 10


def test_sides_are_never_mirrored():
    kidney = np.zeros((50, 50, 3), np.uint8)
    kidney[20:30, 35:45] = 255
    at = {"left kidney": np.asarray([[0.7, 0.4, 0.9, 0.6]], np.float32)}
    scene = Scene("a", "a", "cross-sections", kidney, at)
    for seed in range(10):
        cut = cut_out(scene, np.random.default_rng(seed))
        columns = np.flatnonzero(cut.picture[..., 0].any(0))
        assert columns.mean() > cut.picture.shape[1] / 2  # at the right it stays


@pytest.fixture
def smears(monkeypatch):
    part = {0: "nano", 1: "nano", 2: "validation", 3: "test"}
    monkeypatch.setattr(instances, "collect", lambda *_: [smear(f"cbc/{i}", 2 + i) for i in range(4)])
    monkeypatch.setattr(instances, "part_of", lambda case: part[int(case.id[-1])])


def test_a_run_leaves_a_head_and_its_figures_and_goes_on(smears, tmp_path):
    out, said = tmp_path / "nano", []
    shutil.copytree(SHIPPED / "nano", out)
    recipe, job = BoxRecipe(dim=16, steps=2, batch=2), Job(device="cpu", on_note=said.append)
    figures = train_boxes(out, tmp_path, out, recipe, job)
    assert figures["pictures"] == figures["steps"] == 2
    row = figures["validation"]["RBC"]
    assert (row["n"], row["instances"]) == (1, 4)
    assert 0 <= row["one_box"][0] <= 1  # the head that gives one box, asked for the same
    assert figures["names"]["RBC"]["validation"] == 1
    assert "held_out" not in figures  # part `test` is read when it is asked for
    assert json.loads((out / "head-boxes.json").read_text()) == figures
    head = DetectHead.load(out / FILE, frozen("nano"))
    assert set(head.config["names"]) == {"RBC"}
    assert ("RBC", "red blood cell") in Scenes(frozen("nano"), [scene_of(smear("cbc/9"))]).wordings
    train_boxes(out, tmp_path, out, recipe, job, resume=True)
    assert "going on from step 2" in said
    figures = measure_boxes(out, tmp_path, job)
    assert figures["held_out"]["RBC"]["instances"] == 5
    record(out)
    card = "\n".join(heads_section(out))
    assert "figures on part `test`" in card
    assert "| RBC | " in card
    assert Nano(out).fingerprint == frozen("nano").fingerprint  # an index outlives the head


def test_a_part_without_pictures_and_a_folder_without_a_head(smears, monkeypatch, tmp_path):
    monkeypatch.setattr(instances, "part_of", lambda _: "nano")
    with pytest.raises(BadInputError, match="part validation"):
        train_boxes(SHIPPED / "nano", tmp_path, tmp_path, BoxRecipe(), Job(device="cpu"))
    with pytest.raises(MissingError, match="no trained head"):
        measure_boxes(tmp_path, tmp_path, Job(device="cpu"))


def test_counts_and_overlap_of_a_perfect_net(monkeypatch):
    from vesalius.training.nano import instances_measure

    scene = scene_of(smear("cbc/0", 3))
    data = Scenes(frozen("nano"), [scene])
    exact = (scene.boxes["RBC"], np.asarray([0.9, 0.8, 0.7], np.float32), 1.0)
    monkeypatch.setattr(instances_measure, "found_in", lambda *_: {"RBC": exact})
    blind = Blind({"RBC": scene.boxes["RBC"].mean(0)}, {"RBC": 2.0})
    row = instances_measure._figures("RBC", answers(None, data, "RBC"), blind, 0.5, 10)
    assert row["iou"][0] == pytest.approx(1)
    assert row["ap50"] == 1
    assert row["count_error"][0] == 0
    assert row["constant_error"] == 1
    # 0.85 as the threshold finds one of three.
    assert instances_measure._figures("RBC", answers(None, data, "RBC"), blind, 0.85, 10)["count_error"][0] == 2
    # The mean box of three in a row is the middle one: to look wins nothing there, and no box may be drawn.
    assert instances_measure.choose(None, data, blind)["RBC"] == {"boxes": False, "threshold": 0.1, "validation": 1}
    aside = Blind({"RBC": np.asarray([0, 0, 0.1, 0.1], np.float32)}, {"RBC": 2.0})
    assert instances_measure.choose(None, data, aside)["RBC"]["boxes"]
    assert Blind.from_dict(blind.to_dict()).count == blind.count
