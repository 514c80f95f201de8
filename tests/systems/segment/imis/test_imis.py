"""Card 49: one decoder for clicks, boxes and names, at the picture's own size."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tolerance import HALF, close
from vesalius.cases import Box, Image
from vesalius.errors import BadInputError, UsageError
from vesalius.job import Job
from vesalius.models.protocols import Prompt, Segmenter
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.segment.imis.recipe import wrong_names


@pytest.fixture(scope="module")
def model():
    system = open_system("imis-bench")
    return system.train(system.example(12, 7), Budget(steps=2), Job(seed=1))


def test_masks_have_the_pictures_size_and_can_be_given_back(model):
    assert isinstance(model, Segmenter)
    image = Image(array=np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8), modality="DX")
    encoded = model.encode(image)
    found = model.segment(encoded, Prompt(points=((80.0, 10.0, 1),)))
    assert found.mask.shape == (60, 90)
    assert 0 <= found.score <= 1
    again = model.segment(encoded, Prompt(points=((80.0, 10.0, 1), (5.0, 5.0, 0)), previous=found.logits))
    assert again.logits.shape == found.logits.shape
    assert not np.array_equal(again.logits, found.logits)


def test_an_embedding_kept_on_disk_gives_the_same_mask(model):
    image = Image(array=np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8), modality="DX")
    encoded = model.encode(image)
    prompt = Prompt(box=Box(10, 10, 40, 50))
    kept = model.restore(encoded.to_tensors(), encoded.size)
    close(model.segment(kept, prompt).logits, model.segment(encoded, prompt).logits, HALF)
    with pytest.raises(BadInputError, match="missing"):
        model.restore({}, (64, 64))


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (Prompt(), "nothing to segment"),
        (Prompt(points=((100.0, 5.0, 1),)), "outside the picture"),
        (Prompt(points=((5.0, 5.0, 7),)), "label is not known"),
        (Prompt(box=Box(200, 200, 300, 300)), "empty or outside"),
        (Prompt(points=((5.0, 5.0, 1),), previous=np.zeros((3, 3), np.float32)), "another size"),
    ],
)
def test_bad_prompts_are_named(model, prompt, says):
    encoded = model.encode(Image(array=np.zeros((64, 64), np.uint8) + 9, modality="DX"))
    with pytest.raises(UsageError, match=says):
        model.segment(encoded, prompt)


def test_a_slice_that_is_not_there_is_named(model):
    volume = Image(array=np.zeros((4, 32, 32), np.int16) + np.arange(32, dtype=np.int16), modality="CT", kind="3d")
    assert model.encode(volume, 3).size == (32, 32)
    with pytest.raises(UsageError, match="no such slice"):
        model.encode(volume, 4)


def test_wrong_names_are_of_the_same_picture(model):
    from vesalius.training.interactive import gather

    system = open_system("imis-bench")
    targets = gather(system.example(6, 11), model.base, 128)
    pairs = wrong_names(targets, np.arange(len(targets)), np.random.default_rng(0))
    assert pairs
    for i, name in pairs:
        mates = {targets.names[j] for j in range(len(targets)) if targets.picture[j] == targets.picture[i]}
        assert name != targets.names[i]
        assert name in mates
