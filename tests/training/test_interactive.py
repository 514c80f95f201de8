"""Training by use: targets are gathered as they are, and corrective clicks change the answer for the better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import REPEATED, close
from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.cases.record import Region
from vesalius.errors import BadInputError
from vesalius.models import load
from vesalius.nn.promptable import PromptableHead
from vesalius.sources.pseudo import granules
from vesalius.training.interactive import dice_by_click, gather, interactive_step


def _discs(n, seed=0):
    """Pictures with a bright disc on the left and a dim one on the right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :96]
    cases = []
    for i in range(n):
        cy, r = rng.uniform(20, 44), rng.uniform(8, 14)
        left = (x - 24) ** 2 + (y - cy) ** 2 < r**2
        right = (x - 70) ** 2 + (y - (64 - cy)) ** 2 < r**2
        picture = 40 + 150 * left + 80 * right + rng.normal(0, 8, left.shape)
        regions = [
            Region(Mask.from_array(left), label="left disc"), Region(Mask.from_array(right), label="right disc")
        ]  # fmt: skip
        image = Image(array=np.clip(picture, 0, 255).astype(np.uint8), modality="US")
        cases.append(Case(id=f"c{i}", patient=f"p{i}", images=(image,), regions=tuple(regions)))
    return cases


@pytest.fixture(scope="module")
def base():
    return load("nano", device="cpu")


def test_gather_keeps_names_places_and_patients(base):
    targets = gather(_discs(3), base, 64, unnamed=granules)
    assert sorted({n for n in targets.names if n}) == ["left disc", "right disc"]
    for i, name in enumerate(targets.names):
        columns = np.flatnonzero(targets.masks[i].any(0))
        if name:
            assert (columns.mean() < 16) == (name == "left disc")  # squeezed to 32 cells
    assert len(targets.groups) == 3
    assert any(n == "" for n in targets.names)
    assert [m.shape[1] for m in targets.maps] == [16, 24, 40, 112, 1280]
    with pytest.raises(BadInputError, match="nothing to segment"):
        gather([c.replace(regions=()) for c in _discs(1)], base, 64)


def test_of_two_annotators_the_first_counts(base):
    case = _discs(1)[0]
    mask = case.regions[0].geometry
    twice = case.replace(regions=(
        Region(mask, label="vessel", annotator="one"),
        Region(Mask.from_array(~mask.to_array()), label="vessel", annotator="two"),
    ))  # fmt: skip
    targets = gather([twice], base, 64)
    assert targets.masks.mean() < 0.2


def test_training_learns_and_clicks_help(base):
    targets = gather(_discs(24), base, 64)
    torch.manual_seed(0)
    head = PromptableHead(dim=32, heads=4)
    step = interactive_step(head, targets, np.arange(len(targets)), batch=8, rounds=2)
    before = dice_by_click(head.eval(), targets, np.arange(len(targets)), clicks=2)
    optimiser = torch.optim.Adam(head.train().parameters(), 5e-3)
    for number in range(70):
        losses = step(number, np.random.default_rng((0, number)))
        assert set(losses) == {"focal", "dice", "overlap", "present"}
        total = sum(losses.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    fresh = gather(_discs(12, seed=9), base, 64)
    rows = np.arange(len(fresh))
    after = dice_by_click(head.eval(), fresh, rows, first="box", clicks=1)
    assert after.mean() > before.mean() + 0.3
    again = dice_by_click(head, fresh, rows, first="box", clicks=1)
    close(again, after, REPEATED)


def test_granules_are_disjoint_and_of_a_size():
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.integers(0, 255, (8, 8)), 8, 0).repeat(8, 1).astype(np.uint8)
    parts = granules(picture)
    assert parts.shape == (64, 64)
    sizes = np.bincount(parts.ravel())[1:]
    assert len(sizes) > 2
    assert (np.diff(sizes) <= 0).all()  # the largest first
    assert granules(np.zeros((32, 32), np.uint8)).max() <= 1
