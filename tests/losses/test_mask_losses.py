"""Mask losses against MONAI and against what they must be at the ends."""

import pytest
import torch

from tests.tolerance import close
from vesalius.losses.segmentation import dice, focal, overlap


@pytest.fixture
def masks():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(5, 1, 9, 7, generator=generator) * 3, (torch.rand(5, 1, 9, 7, generator=generator) > 0.7).float()


def test_focal_is_monais(masks):
    losses = pytest.importorskip("monai.losses")
    logits, target = masks
    want = losses.FocalLoss(gamma=2.0, alpha=0.25, reduction="none")(logits, target).mean((2, 3))
    close(focal(logits, target), want)


@pytest.mark.parametrize("over", ["mask", "batch"])
def test_dice_is_monais(masks, over):
    losses = pytest.importorskip("monai.losses")
    logits, target = masks
    want = losses.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, batch=over == "batch", reduction="none")
    close(dice(logits, target, over=over).flatten(), want(logits, target).flatten())


def test_ends():
    target = torch.zeros(2, 4, 4)
    target[0, :2] = 1
    sure = torch.where(target > 0, 50.0, -50.0)
    assert focal(sure, target).max() < 1e-6
    assert dice(sure, target).max() < 1e-6  # an empty mask of nothing costs nothing
    assert overlap(sure, target).tolist() == [1.0, 1.0]
    assert overlap(-sure, target).tolist() == [0.0, 0.0]
