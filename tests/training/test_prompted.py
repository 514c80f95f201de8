"""Kept maps, names that are not there, prompts for training: on drawn pictures, with an encoder of one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vesalius.cases import Case, Image, Region
from vesalius.cases.geometry import Mask
from vesalius.errors import BadInputError
from vesalius.nn.locate import Locator
from vesalius.nn.promptable import BOTTOM_RIGHT, TOP_LEFT, Masks
from vesalius.training.encoded import Encoded, Target, gather
from vesalius.training.locating import Coarse, absent_names, balance, folds, locate_step, surely_absent
from vesalius.training.nano.medsam import slices_for_training
from vesalius.training.prompting import as_logits, dice_after, prompt_step, widened

SIDE = 64


class Pool:
    """Three channels at a quarter of the side; counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, pixels):
        self.calls += 1
        return nn.functional.avg_pool2d(pixels, 4)


def _flat(number, where="colon", name="polyp"):
    picture = np.full((48, 64), 40, np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[10 + number : 30 + number, 20:44] = True
    picture[mask] = 200
    image = Image(array=picture, modality="ES", body_part=where)
    region = Region(image=0, geometry=Mask.from_array(mask), label=name)
    return Case(id=f"flat/{number}", patient=f"p{number}", images=(image,), regions=(region,))


def _volume():
    mask = np.zeros((6, 32, 32), bool)
    mask[2:5, 8:20, 8:20] = True
    array = np.where(mask, 300, 20).astype(np.int16)
    image = Image(array=array, kind="3d", modality="MR", body_part="brain")
    region = Region(image=0, geometry=Mask.from_array(mask), label="cube")
    return Case(id="volume/0", patient="v", images=(image,), regions=(region,))


@pytest.fixture
def data(tmp_path):
    cases = [_flat(i) for i in range(4)] + [_flat(5, "chest", "lungs"), _volume()]
    return gather(cases, Pool(), SIDE, tmp_path, slices=slices_for_training)


def test_maps_are_made_once_and_masks_come_back(tmp_path):
    encoder, cases = Pool(), [_flat(0), _volume()]
    first = gather(cases, encoder, SIDE, tmp_path, slices=slices_for_training)
    made = encoder.calls
    again = gather(cases, encoder, SIDE, tmp_path, slices=slices_for_training, only_there=True)
    assert encoder.calls == made
    assert again.targets == first.targets
    mask = first.mask(0)
    assert mask.shape == (SIDE, SIDE)
    assert mask.sum() == 20 * 24
    assert first.features([0, 0]).shape == (2, 3, 16, 16)
    with pytest.raises(BadInputError, match="nothing to segment"):
        gather(cases, encoder, SIDE, tmp_path / "none", slices=slices_for_training, only_there=True)


def test_a_walk_ends_beyond_the_structure(data):
    cubes = [t for t in data.targets if t.name == "cube"]
    ended = [t for t in cubes if not data.mask(data.targets.index(t)).any()]
    assert len(ended) == 1
    assert data.mask(ended[0].before).any()


def test_names_of_other_regions_are_absent_and_those_near_are_not_said_to_be():
    places = [("polyp", "colon"), ("lungs", "chest"), ("liver", "abdomen"), ("hippocampus", "brain")]
    assert surely_absent("head", places) == ["liver", "lungs", "polyp"]
    assert surely_absent("chest", places) == ["hippocampus", "polyp"]


def test_what_has_ended_is_absent_from_that_slice_alone(data):
    absent = absent_names(data)
    beyond = next(t.picture for t in data.targets if t.name == "cube" and not data.mask(data.targets.index(t)).any())
    assert "cube" in absent[beyond]
    assert all("cube" not in absent[t.picture] for t in data.targets if t.name == "cube" and t.picture != beyond)


def test_halves_are_by_patient():
    data = Encoded((), (), SIDE)
    assert len(folds(data)) == 0
    odds = balance(["a"] * 9 + ["b"])
    assert odds[:9].sum() / odds[9] == pytest.approx(3)


def test_a_locator_learns_from_kept_maps(data):
    torch.manual_seed(0)
    net = Locator(3, 3, dim=8, pool=2)
    coarse = Coarse(data, net)
    words = {n: np.eye(3, dtype=np.float32)[i : i + 1] for i, n in enumerate(data.names())}
    step = locate_step(net, coarse, np.arange(len(data.pictures)), words, batch=4)
    first = step(0, np.random.default_rng(0))
    assert set(first) == {"cells", "dice", "there"}
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for number in range(80):
        losses = step(number, np.random.default_rng(number))
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    last = step(0, np.random.default_rng(0))
    assert sum(last.values()) < 0.6 * sum(first.values())


class Deaf(nn.Module):
    """A decoder that repeats the mask so far, or a constant."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features, prompts):
        n = len(features)
        logits = torch.nan_to_num(prompts.previous)[:, None] + self.bias
        return Masks(logits, torch.full((n, 1), 0.5) + 0 * self.bias, self.bias.expand(n))


def _nowhere(_):
    return lambda features, words: torch.full((len(features), SIDE, SIDE), -4.0) + 0 * words.sum()


def test_a_step_asks_in_every_way_and_repeats(data):
    net = Deaf()
    words = {n: np.ones((2, 3), np.float32) for n in data.names()}
    step = prompt_step(net, data, np.arange(len(data.targets)), words, absent_names(data), _nowhere, batch=6, rounds=2)
    first, again = (step(3, np.random.default_rng(3)) for _ in range(2))
    assert set(first) == {"focal", "dice", "overlap", "present"}
    assert all(torch.equal(first[k], again[k]) for k in first)
    sum(first.values()).backward()
    assert net.bias.grad is not None


def test_a_neighbours_mask_is_heard_as_it_stands(data):
    ended = next(i for i, t in enumerate(data.targets) if t.before >= 0 and data.mask(i).any())
    words = {n: np.ones((1, 3), np.float32) for n in data.names()}
    # A decoder that repeats the neighbour is right where the structure does not change.
    scores, sure = dice_after(Deaf(), data, [ended], words, _nowhere, first="neighbour")
    assert scores[0, 0] > 0.9
    assert sure[0] == pytest.approx(0.5)
    blank, _ = dice_after(Deaf(), data, [ended], words, _nowhere, first="name")
    assert blank[0, 0] == 0


def test_a_neighbours_box_is_wider_and_stays_in_the_square():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:10, 20:40] = True
    (x0, y0, left), (x1, y1, right) = widened(mask)
    assert (left, right) == (TOP_LEFT, BOTTOM_RIGHT)
    assert y0 == 0
    assert x0 == pytest.approx((20 - 2) / SIDE)
    assert y1 == pytest.approx(11 / SIDE)
    assert x1 == pytest.approx(42 / SIDE)
    logits = as_logits(mask)
    # Corners are rounded off.
    assert ((logits > 0).numpy() ^ mask).sum() <= 4 * 2


def test_packed_masks_are_small():
    assert len(Target(0, "", np.packbits(np.zeros((SIDE, SIDE), bool)).tobytes()).mask) == SIDE * SIDE // 8
