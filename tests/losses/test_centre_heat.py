"""The heat map of centres and its focal loss, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vesalius.losses.heat import centre_focal, centre_heat


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0.5, 12), st.floats(0.5, 12))
def test_one_at_the_centre_and_less_everywhere_else(x, y, width, height):
    middle = torch.tensor([x + 0.5, y + 0.5])
    size = torch.tensor([width, height])
    heat = centre_heat(torch.cat([middle - size / 2, middle + size / 2])[None], 10, 10)
    assert heat[y, x] == 1
    assert (heat <= 1).all()
    assert int((heat > 0.999).sum()) == 1


def test_no_box_no_heat_and_two_boxes_their_larger():
    assert not centre_heat(torch.zeros(0, 4), 4, 5).any()
    one, two = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[2.0, 2, 5, 5]])
    both = centre_heat(torch.cat([one, two]), 6, 6)
    torch.testing.assert_close(both, torch.maximum(centre_heat(one, 6, 6), centre_heat(two, 6, 6)))


def test_the_loss_is_its_definition():
    torch.manual_seed(0)
    logits, heat = torch.randn(2, 3, 4), torch.rand(2, 3, 4) * 0.9
    heat[0, 1, 1] = heat[1, 2, 0] = 1.0
    want, centres = 0.0, 0
    for z, y in zip(logits.flatten().tolist(), heat.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        if y == 1:
            want -= (1 - p) ** 2 * math.log(p)
            centres += 1
        else:
            want -= (1 - y) ** 4 * p**2 * math.log(1 - p)
    assert float(centre_focal(logits, heat)) == pytest.approx(want / centres, rel=1e-5)
    assert 0 <= float(centre_focal(torch.full((1, 2, 2), -20.0), torch.zeros(1, 2, 2))) < 1e-5


def test_a_picture_with_a_crowd_counts_as_much_as_one_with_one():
    torch.manual_seed(1)
    logits, heat = torch.randn(2, 4, 4), torch.zeros(2, 4, 4)
    heat[0, 0, 0] = 1.0
    heat[1, :, :2] = 1.0
    alone = [float(centre_focal(logits[i : i + 1], heat[i : i + 1])) for i in range(2)]
    assert float(centre_focal(logits, heat)) == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_a_centre_on_the_last_edge_is_in_the_last_cell():
    heat = centre_heat(torch.tensor([[2.0, 3, 8, 7]]), 5, 5)
    assert heat[4, 4] == 1
