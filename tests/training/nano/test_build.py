"""A written model folder loads, embeds as the net did, and reads how its words are scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vesalius.cases import Case, Image, Source
from vesalius.errors import MissingError
from vesalius.job import Job
from vesalius.models import load
from vesalius.models.nano.model import NanoNet
from vesalius.training.nano.build import Material, write_model
from vesalius.training.nano.pictures import collect, decode
from vesalius.training.nano.tower import imagenet

RNG = np.random.default_rng(0)
WORDS = {
    "rejection": {"best": -9.0, "lead": -1.0, "classes": 0.1, "bias": 2.0, "scale": 33.0},
    "told": [1, 2], "false": [1, 3], "left_out": {},
}  # fmt: skip


def picture(i, dataset="set", shape=(40, 50), kind="2d"):
    array = RNG.integers(0, 255, shape, dtype=np.uint8)
    return Case(f"{dataset}/{i}", images=(Image(array=array, modality="CT", kind=kind),), source=Source(dataset))


def test_a_written_model_loads_and_embeds(tmp_path):
    torch.manual_seed(0)
    net = NanoNet().eval()
    net.tower.load_state_dict(imagenet())
    manifest = write_model(tmp_path / "m", net, WORDS, ["a"], {"why": "test"})
    assert manifest.problems(tmp_path / "m") == []
    model = load(f"dir:{tmp_path / 'm'}", device="cpu")
    image = picture(0).images[0]
    with torch.inference_mode():
        want = net.image(torch.from_numpy(model.preprocess(image))).numpy()
    # Weights are stored in half precision, 11 bits each: vectors agree to about a thousandth.
    assert (model.embed([image]) @ want.T).item() == pytest.approx(1, abs=1e-4)
    assert model.scale == 33.0
    assert model.rejection.best == -9.0


def test_views_are_decoded_once_and_found_again(tmp_path):
    cases = [picture(0), picture(1, shape=(5, 30, 30), kind="3d"), picture(2)]
    large, small = decode(cases, (32, 16), tmp_path, Job(), slices=4)
    assert [len(large.of(i)) for i in range(3)] == [1, 4, 1]
    assert large.owner.tolist() == [0, 1, 1, 1, 1, 2]
    assert small.of(2).shape == (1, 3, 16, 16)
    broken = [c.replace(images=(Image(uri="/nowhere.png"),)) for c in cases]
    again, _ = decode(broken, (32, 16), tmp_path, Job(), slices=4)
    np.testing.assert_array_equal(again.of(1), large.of(1))


def test_a_picture_that_cannot_be_read_is_named_and_black(tmp_path):
    job = Job()
    bad = picture(7).replace(images=(Image(uri="/nowhere.png"),))
    (views,) = decode([picture(0), bad], (16,), tmp_path, job)
    assert [r.item for r in job.refused] == ["set/7"]
    assert not views.of(1).any()
    with pytest.raises(MissingError, match="training set is not there"):
        collect(tmp_path, ["busi"])


def test_sets_count_by_the_root_of_their_size_and_drawings_by_their_share(tmp_path):
    cases = [*(picture(i, "a") for i in range(4)), picture(0, "b"), picture(0, "d"), picture(1, "d")]
    part = np.asarray(["nano"] * 4 + ["nano"] + ["drawn"] * 2)
    real = decode(cases[:5], (16,), tmp_path, Job())[0]
    drawn = decode(cases[5:], (16,), tmp_path, Job())[0]
    material = Material(cases, part, (real, drawn), (real, drawn))
    chance = material.chance(part == "nano", 0.1)
    assert chance.sum() == pytest.approx(1)
    assert chance[:4].sum() / chance[4] == pytest.approx(2)  # the root of 4 against the root of 1
    assert chance[5:].sum() == pytest.approx(0.1)
    assert not material.chance(np.asarray([False] * 4 + [True] + [False] * 2), 0.1)[:4].any()
