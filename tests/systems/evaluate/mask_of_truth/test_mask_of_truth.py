"""Card 63: what masks give away, and that the control takes it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import FLOAT32
from vesalius.audit.masks import common_area, masked
from vesalius.errors import BadInputError
from vesalius.job import Job
from vesalius.systems import open_system
from vesalius.systems.evaluate.mask_of_truth.masking import clear_of_border, read_masked
from vesalius.systems.evaluate.mask_of_truth.net import RandomConv
from vesalius.systems.evaluate.mask_of_truth.recipe import LUNGS, films
from vesalius.systems.frame.inputs import area


def test_lungs_of_a_phantom_cover_a_fair_part_of_the_film():
    found = area(films(1, 0)[0], LUNGS, 64)
    assert found.shape == (64, 64)
    assert 0.1 < found.mean() < 0.6


def test_a_box_covers_the_last_row_and_column_of_its_region():
    roi = np.zeros((8, 8), bool)
    roi[2:5, 3:7] = True
    gone = masked(np.ones((8, 8), np.uint8), roi, "no-box")
    assert gone[4, 6] == 0
    assert gone.sum() == 64 - 12


def test_a_hole_whose_size_follows_the_label_is_an_alarm_only_without_the_control():
    cases = films(80, 1)
    y = np.arange(80) % 2 == 0
    found = read_masked(cases, LUNGS, y, grow=[3 if v else 0 for v in y], modes=("no-roi", "no-fixed"))
    from vesalius.metrics.classification.scores import auroc

    assert auroc(y, found["no-roi", "no-roi"]) > 0.8
    assert auroc(y, found["no-fixed", "no-fixed"]) < 0.7


def test_organs_that_cover_everything_leave_no_control():
    cases = films(20, 1)
    y = np.arange(20) % 2 == 0
    with pytest.raises(BadInputError, match="cover the whole picture"):
        read_masked(cases, LUNGS, y, grow=[40] * 20, modes=("no-fixed",))
    kept = clear_of_border(cases, LUNGS)
    assert kept
    assert all(not area(c, LUNGS, 64)[:2].any() for c in kept)


def test_the_common_area_is_one_for_all():
    a, b = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    a[1, 1] = b[4, 3] = True
    assert common_area([a, b]).sum() == 4 * 3


def test_random_filters_are_blind_to_brightness_and_fixed_by_their_seed():
    net = RandomConv(grid=1)
    flat = net(torch.full((1, 1, 16, 16), 0.4))[0]
    inner = net.weight.sum((1, 2, 3)).abs()
    assert inner.max() < 1e-5
    assert flat[-1] == pytest.approx(0.4, rel=FLOAT32)
    assert torch.equal(RandomConv(seed=3).weight, RandomConv(seed=3).weight)
    assert not torch.equal(RandomConv(seed=3).weight, RandomConv(seed=4).weight)


def test_the_protocol_has_no_train_and_measures_each_line():
    system = open_system("mask-of-truth")
    assert not hasattr(system, "train")
    claims = system.check(job=Job(seed=100, device="cpu"), scale=0.1)
    assert len(claims) == 4
    assert all(0 <= c.ours <= 1 and c.low <= c.margin <= c.high for c in claims)
    assert claims[0].ours > 0.9  # the hole's size gives the label away
