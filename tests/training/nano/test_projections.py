"""The two projections: kinds are told by words, features come back, and the standardisation is folded in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vesalius.job import Job
from vesalius.models.nano.model import NanoNet
from vesalius.nn.efficientnet import FEATURES
from vesalius.training.nano.captions import Captions
from vesalius.training.nano.projections import ProjectionRecipe, fit_projections
from vesalius.training.nano.words import by_case, case_vectors


def two_kinds(n: int = 120) -> tuple[np.ndarray, Captions]:
    """Features of two kinds of image, apart in many directions, and a caption for each."""
    rng = np.random.default_rng(0)
    kind = np.arange(n) % 2
    x = rng.normal(3, 1, (n, FEATURES)).astype(np.float32)
    x[:, :200] += 2 * kind[:, None]
    truth = np.eye(2, dtype=np.float32)[kind]
    none = np.zeros((n, 0), np.float32)
    claims = np.asarray([[0, -1, -1, -1, -1], [1, -1, -1, -1, -1]])
    return x, Captions(("a", "b"), claims, (("A", "B"), (), (), (), ()), (truth, none, none, none, none), np.zeros(2))


@pytest.fixture(scope="module")
def fitted():
    x, captions = two_kinds()
    sentences = torch.nn.functional.normalize(torch.randn(2, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    chance = np.where(np.arange(len(x)) < 80, 1.0, 0.0)
    recipe = ProjectionRecipe(steps=60, batch=48)
    net = fit_projections(x, np.arange(len(x)), chance, captions, sentences, recipe, Job())
    return x, captions, sentences, net


def test_new_pictures_are_told_apart_by_words(fitted):
    x, captions, sentences, net = fitted
    with torch.inference_mode():
        said = (net.image(torch.from_numpy(x[80:])) @ net.text(sentences).T).argmax(1).numpy()
    assert (captions.truth[0][80:][np.arange(len(said)), said] == 1).mean() > 0.9


def test_folding_changes_no_vector(fitted):
    x, _, sentences, net = fitted
    nano = NanoNet()
    nano.load_state_dict({**nano.state_dict(), **net.folded()})
    with torch.inference_mode():
        one = net.image(torch.from_numpy(x))
        other = torch.nn.functional.normalize(nano.image_projection(torch.from_numpy(x)), dim=1)
        # The folded bias is a sum of 1280 products: it rounds at about 1e-4 of a unit vector.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)
        torch.testing.assert_close(net.text(sentences), nano.text(sentences), rtol=1e-5, atol=1e-6)


def test_a_case_is_the_mean_of_its_views():
    views = np.asarray([[1.0, 0], [0, 1], [2, 2]], np.float32)
    np.testing.assert_allclose(by_case(views, np.asarray([0, 0, 1]), 2), [[0.5, 0.5], [2, 2]])
    unit = case_vectors(lambda x: torch.nn.functional.normalize(x, dim=1), views, np.asarray([0, 0, 1]), 2)
    np.testing.assert_allclose(unit, np.full((2, 2), np.sqrt(0.5)), rtol=1e-6)
