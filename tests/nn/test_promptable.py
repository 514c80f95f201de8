"""The promptable head: what must not matter does not, what must matter does, and it can learn."""

import pytest
import torch

from tests.tolerance import close
from vesalius.nn.efficientnet import FEATURES, Pyramid
from vesalius.nn.promptable import (
    BOTTOM_RIGHT,
    INSIDE,
    OUTSIDE,
    TOP_LEFT,
    FourierPosition,
    Masks,
    PromptableHead,
    Prompts,
    choose,
    pad_prompts,
    prompt_maps,
)


def _pyramid(n=2, side=64):
    g = torch.Generator().manual_seed(1)
    shapes = ((16, 2), (24, 4), (40, 8), (112, 16))
    stages = [torch.randn(n, c, side // k, side // k, generator=g) for c, k in shapes]
    return Pyramid(tuple(stages), torch.randn(n, FEATURES, side // 32, side // 32, generator=g))


def _prompts(points, text=None, previous=None, side=32):
    places, kinds = pad_prompts(points)
    n = len(points)
    return Prompts(
        places,
        kinds,
        torch.zeros(n, 384) if text is None else text,
        torch.full((n, side, side), float("nan")) if previous is None else previous,
    )


@pytest.fixture
def head():
    torch.manual_seed(0)
    return PromptableHead(dim=32, heads=4).eval()


@torch.inference_mode()
def test_padding_says_nothing(head):
    features = head.features(_pyramid())
    alone = head(features.rows(torch.tensor([0])), _prompts([[(0.3, 0.4, INSIDE)]]))
    beside = head(
        features, _prompts([[(0.3, 0.4, INSIDE)], [(0.1, 0.1, INSIDE), (0.9, 0.9, OUTSIDE), (0.5, 0.5, INSIDE)]])
    )
    close(alone.logits[0], beside.logits[0])
    close(alone.overlap[0], beside.overlap[0])


@torch.inference_mode()
def test_every_kind_of_prompt_changes_the_answer(head):
    features = head.features(_pyramid(1))
    click = [(0.3, 0.4, INSIDE)]
    base = head(features, _prompts([click])).logits
    others = [
        _prompts([[(0.6, 0.4, INSIDE)]]),
        _prompts([[(0.3, 0.4, OUTSIDE)]]),
        _prompts([[(0.2, 0.3, TOP_LEFT), (0.6, 0.8, BOTTOM_RIGHT)]]),
        _prompts([click], text=torch.ones(1, 384)),
        _prompts([click], previous=torch.ones(1, 32, 32)),
    ]
    for other in others:
        assert (head(features, other).logits - base).abs().max() > 1e-3


def test_prompts_are_drawn_where_they_are():
    maps = prompt_maps(_prompts([[(0.75, 0.25, INSIDE), (0.2, 0.4, TOP_LEFT), (0.6, 0.9, BOTTOM_RIGHT)]]))
    row, column = divmod(int(maps[0, 1].argmax()), 32)
    assert abs(column - 24) <= 1  # x is the column
    assert abs(row - 8) <= 1
    box = maps[0, 3] > 0
    rows, columns = box.any(1).nonzero()[:, 0], box.any(0).nonzero()[:, 0]
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (13, 28, 6, 18)
    assert maps[0, 2].abs().max() == 0  # no click outside


def test_places_differ_by_axis():
    position = FourierPosition(16)
    grid = position.grid(3, 5)
    close(grid[1 * 5 + 4], position(torch.tensor([0.9, 0.5])))


def test_one_click_takes_the_best_of_three_and_more_takes_the_first():
    logits = torch.arange(8.0).reshape(2, 4, 1, 1)
    masks = Masks(logits, torch.tensor([[0.9, 0.1, 0.8, 0.2]] * 2), torch.zeros(2))
    shown, score = choose(masks, torch.tensor([True, False]))
    assert shown.flatten().tolist() == [2.0, 4.0]
    assert score.tolist() == pytest.approx([0.8, 0.9])


def test_it_learns_to_fill_a_box(head):
    head.train()
    pyramid = _pyramid(1)
    optimiser = torch.optim.Adam(head.parameters(), 5e-3)
    box = [[(0.25, 0.25, TOP_LEFT), (0.75, 0.5, BOTTOM_RIGHT)]]
    target = prompt_maps(_prompts(box))[:, 3]
    first = None
    for _ in range(40):
        logits = head(head.features(pyramid), _prompts(box)).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 * first
