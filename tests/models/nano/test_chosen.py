"""Who answers in nano's name: LiteMedSAM boxes and the names it learnt, the small head clicks and other names."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.cases import Image
from vesalius.cases.geometry import Box
from vesalius.models.nano.chosen import Chosen
from vesalius.models.protocols import Prompt, Segmentation, Segmenter


class Answers:
    """A segmenter that says who it is by the size of its logits."""

    def __init__(self, name, side):
        self.name, self.side = name, side
        self.fingerprint = self.encoder_fingerprint = name * 4

    def encode(self, image, index=0):
        return Kept(self.name, image.pixels().shape[:2])

    def restore(self, tensors, size):
        return Kept(str(tensors["who"][0]), size)

    def segment(self, encoded, prompt):
        assert encoded.who == self.name
        return Segmentation(np.zeros(encoded.size, bool), np.zeros((self.side, self.side), np.float32), 0.5)


class Kept:
    def __init__(self, who, size):
        self.who, self.size = who, size

    def to_tensors(self):
        return {"who": np.asarray([self.who])}


VECTORS = {"lungs": (1, 0, 0), "lung fields": (0.9, 0.436, 0), "polyp": (0, 1, 0), "left lung": (0.95, 0.31, 0)}


def _tower(texts):
    return np.asarray([VECTORS.get(t, (0, 0, 1)) for t in texts], np.float32)


@pytest.fixture
def chosen():
    return Chosen(Answers("fine", 256), Answers("own", 128), ("lungs", "polyp"), lambda: _tower)


@pytest.fixture
def encoded(chosen):
    return chosen.encode(Image(array=np.zeros((20, 30), np.uint8)))


@pytest.mark.parametrize(
    ("prompt", "side"),
    [
        (Prompt(box=Box(1, 1, 9, 9)), 256),
        (Prompt(points=((3, 3, 1),)), 128),
        (Prompt(points=((3, 3, 1),), text="lungs"), 256),
        (Prompt(points=((3, 3, 1),), box=Box(1, 1, 9, 9)), 256),
        (Prompt(text="lungs"), 256),
        (Prompt(text="Lungs"), 256),
        (Prompt(text="lung fields"), 256),
        (Prompt(text="left lung"), 128),
        (Prompt(text="optic disc"), 128),
        (Prompt(text="optic disc", box=Box(1, 1, 9, 9)), 256),
        (Prompt(text="lungs", previous=np.zeros((128, 128), np.float32)), 128),
        (Prompt(points=((3, 3, 1),), previous=np.zeros((256, 256), np.float32)), 256),
    ],
)
def test_each_prompt_goes_to_who_learnt_it(chosen, encoded, prompt, side):
    assert chosen.segment(encoded, prompt).logits.shape == (side, side)


def test_it_is_one_segmenter_with_one_embedding(chosen, encoded):
    assert isinstance(chosen, Segmenter)
    assert chosen.name == "own"
    assert encoded.size == (20, 30)
    back = chosen.restore(encoded.to_tensors(), (20, 30))
    assert chosen.segment(back, Prompt(text="optic disc")).mask.shape == (20, 30)
    assert chosen.segment(back, Prompt(text="polyp")).mask.shape == (20, 30)
