"""The dense box net: shapes, boxes in cells, and that a few steps find a bright square by its name."""

from __future__ import annotations

import numpy as np
import torch

from vesalius.losses.boxes import overlap
from vesalius.losses.heat import centre_focal, centre_heat
from vesalius.nn.dense_boxes import DenseBoxes

CHANNELS = (4, 6, 8)


def maps(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`(n, 16, 16)` pictures as maps at strides 1, 2 and 4 with constant channels beside."""
    n = len(pictures)
    fine = torch.cat([pictures[:, None], torch.ones(n, CHANNELS[0] - 1, 16, 16)], 1)
    pool = torch.nn.functional.avg_pool2d
    middle = torch.cat([pool(pictures[:, None], 2), torch.ones(n, CHANNELS[1] - 1, 8, 8)], 1)
    coarse = torch.cat([pool(pictures[:, None], 4), torch.ones(n, CHANNELS[2] - 1, 4, 4)], 1)
    return fine, middle, coarse


def test_shapes_and_boxes_that_hold_their_cell():
    torch.manual_seed(0)
    net = DenseBoxes(dim=16, channels=CHANNELS, text_dim=5)
    found = net(net.fuse(maps(torch.rand(3, 16, 16))), torch.randn(3, 5))
    assert found.centre.shape == (3, 16, 16)
    assert found.there.shape == (3,)
    at = torch.arange(16) + 0.5
    left, top, right, bottom = found.boxes.unbind(3)
    assert (left < at[None, None]).all()
    assert (right > at[None, None]).all()
    assert (top < at[None, :, None]).all()
    assert (bottom > at[None, :, None]).all()


def test_it_learns_to_find_squares_of_the_named_brightness():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    words = torch.eye(5)[:2]
    net = DenseBoxes(dim=16, channels=CHANNELS, text_dim=5)
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)

    def draw(n):
        pictures, boxes = torch.zeros(n, 16, 16), torch.zeros(n, 2, 4)
        for i in range(n):
            # One bright and one dark square, left and right in either order.
            for name, x0 in zip(rng.permutation(2), (1, 9), strict=True):
                x, y = x0 + int(rng.integers(0, 3)), int(rng.integers(1, 11))
                pictures[i, y : y + 4, x : x + 4] = 1.0 if name == 0 else -1.0
                boxes[i, name] = torch.tensor([x, y, x + 4.0, y + 4.0])
        return pictures, boxes

    for _ in range(60):
        pictures, boxes = draw(16)
        name = torch.from_numpy(rng.integers(0, 2, 16))
        true = boxes[torch.arange(16), name]
        found = net(net.fuse(maps(pictures)), words[name])
        heat = torch.stack([centre_heat(t[None], 16, 16) for t in true])
        cell = ((true[:, :2] + true[:, 2:]) / 2).long()
        at = found.boxes[torch.arange(16), cell[:, 1], cell[:, 0]]
        loss = centre_focal(found.centre, heat) + 2 * (1 - overlap(at, true)[1]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    pictures, boxes = draw(32)
    net.eval()
    right = 0
    with torch.inference_mode():
        for name in range(2):
            found = net(net.fuse(maps(pictures)), words[[name] * 32])
            best = found.centre.flatten(1).argmax(1)
            got = found.boxes.flatten(1, 2)[torch.arange(32), best]
            right += int((overlap(got, boxes[:, name])[0] > 0.5).sum())
    assert right >= 56  # of 64; blind, half of the squares would be the other one
