"""TaCo: what negatives keep, that rows go by y, and the triple context by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.tolerance import close
from vesalius.losses.taco import negative_boxes, ramp, region_cells, region_logits, taco
from vesalius.metrics.detection.boxes import iou_matrix


def test_negatives_are_inside_alike_in_size_and_elsewhere():
    truth = np.asarray([[0.1, 0.2, 0.3, 0.5], [0.5, 0.1, 0.95, 0.4]], np.float32)
    out = negative_boxes(truth, np.random.default_rng(0))
    assert out.shape == (2, 5, 4)
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6
    for true, false in zip(truth, out, strict=True):
        assert iou_matrix(true[None], false).max() <= 0.25 + 1e-6
        change = (false[:, 2:] - false[:, :2]) / (true[2:] - true[:2])
        assert change.min() >= 0.9 - 1e-5
        assert change.max() <= 1.1 + 1e-5


def test_a_box_that_fills_the_picture_still_gets_negatives():
    out = negative_boxes(np.asarray([[0.0, 0.0, 1.0, 1.0]], np.float32), np.random.default_rng(0))
    assert out.shape == (1, 5, 4)
    assert (out >= 0).all()
    assert (out <= 1 + 1e-6).all()
    assert (out[..., 2:] > out[..., :2]).all()


def test_rows_are_indexed_by_y():
    # A box at the right (x), at the top (y): on a 4 x 4 grid, row 0, columns 2 and 3.
    cells = region_cells(torch.tensor([0.5, 0.0, 1.0, 0.25]), 4).view(4, 4)
    expected = torch.zeros(4, 4)
    expected[0, 2:] = 0.5
    close(cells, expected)


def test_an_empty_region_takes_one_cell_even_at_the_edge():
    for box, where in (([0.3, 0.6, 0.31, 0.61], (2, 1)), ([1.0, 1.0, 1.0, 1.0], (3, 3))):
        cells = region_cells(torch.tensor(box), 4).view(4, 4)
        assert float(cells[where]) == 1.0
        assert float(cells.sum()) == 1.0


def test_logits_equal_the_formula_by_hand():
    torch.manual_seed(0)
    grid, words, d = 2, 3, 5
    length = 1 + words + grid * grid
    hidden = torch.randn(1, length, d)
    attention = torch.rand(1, length, length).softmax(2)
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 1.0, 1.0]]])
    ours = region_logits(hidden, attention, region_cells(boxes, grid), 1 + words)
    h, a = hidden[0], attention[0]
    for k, rows in enumerate(([4], [6, 7])):
        v, a_k = h[rows].mean(0), a[rows].mean(0)
        w = a[1] * a_k * a[0]
        w = w / (w.sum() + 1e-5)
        c = sum(w[i] * h[i] for i in range(length))
        x, y = h[1] + c, v + c
        assert float(ours[0, k]) == pytest.approx(float(x @ y / x.norm() / y.norm() / 0.1), rel=1e-4)


def test_loss_and_ramp():
    assert float(taco(torch.zeros(3, 6))) == pytest.approx(math.log(6))
    assert float(taco(torch.zeros(0, 6))) == 0.0
    assert ramp(0) == 0
    assert ramp(1) == pytest.approx(0.05)
    assert ramp(0.5) == pytest.approx(0.05 * 0.5**0.9)
