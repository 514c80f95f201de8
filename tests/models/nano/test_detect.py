"""The stored box head: every instance of a taught name, a heat map for other words, and files that are refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.tolerance import FLOAT32
from vesalius.cases import Image
from vesalius.errors import BadInputError
from vesalius.models import load
from vesalius.models.manifest import Manifest
from vesalius.models.nano.detect import FILE, DetectHead, instances
from vesalius.models.store import SHIPPED
from vesalius.nn.dense_boxes import DenseBoxes
from vesalius.systems.frame.frozen import frozen
from vesalius.training.nano.heads_card import record

NET = {"dim": 16}
NAMES = {"heart": {"boxes": True, "threshold": 0.005}, "nodule": {"boxes": False, "threshold": 0.3}}


def head(**config) -> DetectHead:
    """An untrained head that was taught two names."""
    torch.manual_seed(0)
    base = frozen("nano")
    words = torch.from_numpy(base.text_tower(list(NAMES)))
    about = {"net": NET, "base_fingerprint": base.fingerprint, "wordings": list(NAMES), "names": NAMES, **config}
    return DetectHead(DenseBoxes(**NET), words, about)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of nano with an untrained head beside the one that gives one box."""
    folder = tmp_path_factory.mktemp("nano") / "nano"
    shutil.copytree(SHIPPED / "nano", folder)
    head().save(folder / FILE)
    record(folder)
    return folder


def test_without_the_head_nano_gives_one_box_and_cannot_find_all():
    model = frozen("nano")
    assert not hasattr(model, "ground_all")
    image = Image(array=np.random.default_rng(0).integers(0, 255, (120, 300), dtype=np.uint8))
    (found,) = model.ground(image, ["heart"])
    assert len(found.boxes) == 1
    assert found.heat.shape == (14, 14)  # the maps of the head that gives one box
    assert found.count is None


def test_with_the_head_nano_finds_every_instance(folder):
    manifest = Manifest.read(folder)
    assert manifest.capabilities.count("ground") == 1
    assert not manifest.problems(folder)
    model = load(f"dir:{folder}", device="cpu", can="ground")
    assert model.fingerprint == frozen("nano").fingerprint
    image = Image(array=np.random.default_rng(0).integers(0, 255, (120, 300), dtype=np.uint8))
    known, refused, strange = model.ground(image, ["heart", "nodule", "a red bicycle"])
    assert [g.phrase for g in (known, refused, strange)] == ["heart", "nodule", "a red bicycle"]
    (box,) = known.boxes
    assert 0 <= box.x0 < box.x1 <= 300
    assert 0 <= box.y0 < box.y1 <= 120
    assert 0 <= known.scores[0] <= 1
    assert known.heat.shape == (40, 40)
    # No box where boxes are no better than the mean box, nor for words that were never taught: only a heat map.
    for found in (refused, strange, model.ground_all(image, ["nodule"])[0]):
        assert found.boxes == found.scores == ()
        assert found.count is None
        assert found.heat.shape == (7, 7)
        assert found.heat.sum() == pytest.approx(1, rel=FLOAT32)
    assert model.ground(image, []) == []
    (every,) = model.ground_all(image, ["heart"])
    assert every.count == len(every.boxes) == len(every.scores) > 1
    assert min(every.scores) >= NAMES["heart"]["threshold"]
    assert list(every.scores) == sorted(every.scores, reverse=True)


def test_another_wording_is_the_same_name():
    made = head()
    base = frozen("nano")
    for phrase, name in (("the heart", "heart"), ("nodules", "nodule")):
        assert made.known(torch.from_numpy(base.text_tower([phrase]))[0]) == NAMES[name]
    assert made.known(torch.from_numpy(base.text_tower(["a red bicycle"]))[0]) is None


def test_half_precision_moves_no_box_by_a_pixel(folder):
    base = frozen("nano")
    image = Image(array=np.random.default_rng(1).integers(0, 255, (200, 200), dtype=np.uint8))
    kept = head().ground(base, image, ["heart"])[0].boxes[0]
    read = DetectHead.load(folder / FILE, base).ground(base, image, ["heart"])[0].boxes[0]
    assert max(abs(getattr(kept, k) - getattr(read, k)) for k in ("x0", "y0", "x1", "y1")) < 0.5


def test_two_boxes_of_one_thing_are_one_instance():
    heat = torch.zeros(6, 6)
    heat[1, 1], heat[1, 3], heat[4, 4] = 0.9, 0.8, 0.7
    boxes = torch.zeros(6, 6, 4)
    boxes[1, 1], boxes[1, 3] = torch.tensor([0.0, 0, 4, 3]), torch.tensor([0.5, 0, 4.5, 3])
    boxes[4, 4] = torch.tensor([3.0, 3, 6, 6])
    found, scores = instances(heat, boxes, 0.1)
    assert found.tolist() == [[0, 0, 4, 3], [3, 3, 6, 6]]
    assert scores.tolist() == pytest.approx([0.9, 0.7])
    assert len(instances(heat, boxes, 0.95)[0]) == 0


def test_a_strange_file_is_refused(tmp_path):
    base = frozen("nano")
    (tmp_path / "junk").write_bytes(b"junk")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare")
    head(base_fingerprint="0").save(tmp_path / "other")
    for name in ("junk", "bare"):
        with pytest.raises(BadInputError, match="cannot read box head"):
            DetectHead.load(tmp_path / name, base)
    with pytest.raises(BadInputError, match="another nano"):
        DetectHead.load(tmp_path / "other", base)
    head(names={}).save(tmp_path / "nameless")
    with pytest.raises(BadInputError, match="do not fit"):
        DetectHead.load(tmp_path / "nameless", base)
