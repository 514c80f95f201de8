"""The stored box head: a file beside nano, and boxes in the image's own pixels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.tolerance import FLOAT32
from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models import load
from vesalius.models.nano.ground import FILE, GroundHead
from vesalius.models.nano.head_tower import tower_of
from vesalius.models.nano.model import Nano
from vesalius.models.preprocess import display_view
from vesalius.models.store import SHIPPED
from vesalius.nn.grounding import GroundNet
from vesalius.systems.frame.frozen import frozen
from vesalius.training.nano.heads_card import record

NET = {"dim": 32, "layers": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of nano without a box head, and an untrained head."""
    folder = tmp_path_factory.mktemp("nano")
    for file in (SHIPPED / "nano").iterdir():
        if file.name != FILE:
            shutil.copyfile(file, folder / file.name)
    manifest = json.loads((folder / "model.json").read_text())
    manifest["files"].pop(FILE, None)
    manifest["capabilities"] = [c for c in manifest["capabilities"] if c != "ground"]
    (folder / "model.json").write_text(json.dumps(manifest))
    mark = tower_of(folder, frozen("nano")).fingerprint
    torch.manual_seed(0)
    GroundHead(GroundNet(**NET), {"net": NET, "base_fingerprint": mark}).save(folder / "made")
    return folder


def test_nano_grounds_once_its_folder_has_a_head(folder, tmp_path):
    without = tmp_path / "without"
    shutil.copytree(folder, without)
    with pytest.raises(MissingError, match="cannot ground"):
        load(f"dir:{without}", device="cpu", can="ground")
    before = Nano(without).fingerprint
    (without / "made").rename(without / FILE)
    manifest = record(without)
    assert "ground" in manifest.capabilities
    assert not manifest.problems(without)
    assert manifest.fingerprint == before
    model = load(f"dir:{without}", device="cpu", can="ground")
    image = Image(array=np.random.default_rng(0).integers(0, 255, (120, 300), dtype=np.uint8))
    first, second = model.ground(image, ["left lung", "heart"])
    assert (first.phrase, second.phrase) == ("left lung", "heart")
    box = first.boxes[0]
    assert 0 <= box.x0 <= box.x1 <= 300
    assert 0 <= box.y0 <= box.y1 <= 120
    assert 0 <= first.scores[0] <= 1
    assert first.heat.shape == (14, 14)
    assert first.heat.sum() == pytest.approx(1, rel=FLOAT32)
    assert model.ground(image, []) == []
    alone = model.ground(image, ["heart"])[0]
    np.testing.assert_allclose(alone.boxes[0].x0, second.boxes[0].x0, atol=0.05)


def test_half_precision_moves_no_box_by_a_pixel(folder):
    base = frozen("nano")
    torch.manual_seed(0)
    net = GroundNet(**NET)
    image = Image(array=np.random.default_rng(1).integers(0, 255, (200, 200), dtype=np.uint8))
    kept = GroundHead(net, {"net": NET}, tower_of(folder, base)).ground(base, image, ["heart"])[0].boxes[0]
    read = GroundHead.load(folder / "made", base).ground(base, image, ["heart"])[0].boxes[0]
    assert max(abs(getattr(kept, k) - getattr(read, k)) for k in ("x0", "y0", "x1", "y1")) < 0.5


def test_a_strange_file_is_refused(folder, tmp_path):
    base = frozen("nano")
    (tmp_path / "junk").write_bytes(b"junk")
    save_file({"a": torch.zeros(1)}, tmp_path / "bare")
    GroundHead(GroundNet(**NET), {"net": NET, "base_fingerprint": "0"}).save(tmp_path / "other")
    for name in ("junk", "bare"):
        with pytest.raises(BadInputError, match="cannot read box head"):
            GroundHead.load(tmp_path / name, base)
    with pytest.raises(BadInputError, match="another nano"):
        GroundHead.load(tmp_path / "other", base)


def test_a_slice_is_shown_in_the_window_of_its_volume():
    volume = np.zeros((4, 10, 12), np.int16)
    volume[3] = 1000
    image = Image(array=volume, kind="3d")
    assert display_view(image).shape == (10, 12, 3)
    assert display_view(image).max() == 0
    assert display_view(image, 3).min() == 255
    with pytest.raises(BadInputError, match="no such slice"):
        display_view(image, 4)
