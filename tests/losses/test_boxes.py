"""Box losses against the metric's own implementation and a count of pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vesalius.losses.boxes import box_losses, centres, corners, overlap
from vesalius.metrics.detection.boxes import giou, iou


def boxes(n: int, seed: int) -> np.ndarray:
    ends = np.random.default_rng(seed).uniform(0, 1, (n, 2, 2))
    return np.concatenate([ends.min(1), ends.max(1)], 1)


def test_overlap_equals_the_metric():
    a, b = boxes(200, 0), boxes(200, 1)
    ours_iou, ours_giou = overlap(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(ours_iou, [iou(x, y) for x, y in zip(a, b, strict=True)], atol=1e-12)
    np.testing.assert_allclose(ours_giou, [giou(x, y) for x, y in zip(a, b, strict=True)], atol=1e-12)


def test_overlap_equals_counting_pixels():
    rng = np.random.default_rng(2)
    for _ in range(50):
        grid = np.zeros((3, 40, 40), bool)
        rows = []
        for k in range(2):
            x0, x1 = sorted(rng.choice(41, 2, replace=False))
            y0, y1 = sorted(rng.choice(41, 2, replace=False))
            grid[k, y0:y1, x0:x1] = True
            rows.append([x0, y0, x1, y1])
        (a0, b0, a1, b1), (c0, d0, c1, d1) = rows
        grid[2, min(b0, d0) : max(b1, d1), min(a0, c0) : max(a1, c1)] = True
        both, either, hull = (grid[0] & grid[1]).sum(), (grid[0] | grid[1]).sum(), grid[2].sum()
        first, second = overlap(*(torch.tensor([r], dtype=torch.float64) for r in rows))
        assert float(first) == pytest.approx(both / either)
        assert float(second) == pytest.approx(both / either - (hull - either) / hull)


def test_a_box_without_area_gives_no_nan():
    a = torch.tensor([[0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    losses = box_losses(a, torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    sum(losses.values()).backward()
    assert torch.isfinite(a.grad).all()
    assert float(losses["l1"].detach()) == 0


def test_no_boxes_cost_nothing():
    losses = box_losses(torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 4))
    assert {k: float(v.detach()) for k, v in losses.items()} == {"l1": 0.0, "giou": 0.0}


def test_sums_over_coordinates_and_means_over_boxes():
    a, b = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.4, 0.4, 0.2, 0.2]]), torch.full((2, 4), 0.2)
    assert float(box_losses(a, b)["l1"]) == pytest.approx((0.6 + 0.4) / 2)
    torch.testing.assert_close(centres(corners(a)), a)
