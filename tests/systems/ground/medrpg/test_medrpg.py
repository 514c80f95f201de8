"""Card 07: the model answers in the image's pixels, learns which side is which, and its claims are measured."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import Box, Case, Image, Region
from vesalius.job import Job
from vesalius.models.protocols import Grounder
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.training.grounding import box_ious


def two_blobs(n: int, seed: int) -> list[Case]:
    """A bright disc left and right of the middle: only the side word says which."""
    rng, y, x = np.random.default_rng(seed), *np.mgrid[:96, :96]
    cases = []
    for i in range(n):
        picture, regions = rng.normal(60, 6, (96, 96)), []
        for side, middle in (("right", 24), ("left", 72)):  # the patient's sides
            cx, cy, r = middle + rng.integers(-6, 7), rng.integers(24, 72), rng.integers(8, 14)
            picture[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = 220
            box = Box(float(cx - r), float(cy - r), float(cx + r), float(cy + r))
            regions.append(Region(box, "disc", attributes={"side": side}))
        image = Image(array=np.clip(picture, 0, 255).astype(np.uint8), modality="DX")
        cases.append(Case(f"{i}", images=(image,), regions=tuple(regions)))
    return cases


def test_model_grounds_in_pixels():
    system = open_system("medrpg-taco")
    cases = system.example(6, 100)
    model = system.train(cases, Budget(steps=2))
    assert isinstance(model, Grounder)
    wide = Image(array=np.random.default_rng(0).integers(0, 255, (50, 400), dtype=np.uint8))
    (found,) = model.ground(wide, ["left lung"])
    box = found.boxes[0]
    assert 0 <= box.x0 < box.x1 <= 400
    assert 0 <= box.y0 < box.y1 <= 50
    volume = Image(array=np.random.default_rng(0).normal(size=(5, 40, 40)).astype(np.float32), kind="3d")
    middle, asked, first = (model.ground(volume, ["left lung"], index=i)[0].boxes[0] for i in (None, 2, 0))
    assert middle == asked
    assert middle != first


@pytest.mark.slow
def test_the_side_word_chooses_the_box():
    system = open_system("medrpg-taco")
    model = system.train(two_blobs(60, 0), Budget(steps=150), Job(seed=1))
    test = two_blobs(12, 9)
    truth, got, there = [], [], []
    for case in test:
        for found, region in zip(model.ground(case.images[0], ["right disc", "left disc"]), case.regions, strict=True):
            truth.append([region.geometry.x0, region.geometry.y0, region.geometry.x1, region.geometry.y1])
            got.append([found.boxes[0].x0, found.boxes[0].y0, found.boxes[0].x1, found.boxes[0].y1])
            there.append(found.scores[0])
    iou = box_ious(np.asarray(got, np.float32), np.asarray(truth, np.float32))
    assert iou.mean() > 0.3, iou


def test_check_says_what_it_compared():
    claims = open_system("medrpg-taco").check(job=Job(seed=100), scale=0.08)
    assert [c.goal for c in claims] == [0.3, -0.01, 0.0, 0.0]
    assert all(c.n > 10 and np.isfinite([c.margin, c.low, c.high]).all() for c in claims)
    assert claims[0].n == claims[1].n >= claims[3].n
