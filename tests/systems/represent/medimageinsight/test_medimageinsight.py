"""Card 01: what UniCL changes and what it does not, and that the model is an embedder like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import close
from vesalius.errors import BadInputError
from vesalius.losses.contrastive import multi_positive
from vesalius.models.embedding import TowerEmbedder
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.training.two_tower import Aligner, alignment_step


def gradient(targets, same_wording):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 6)).astype(np.float32)
    label = np.arange(12) % 3
    texts = rng.normal(size=(3 if same_wording else 6, 5)).astype(np.float32)
    of_text = np.arange(len(texts)) % 3
    torch.manual_seed(0)
    net = Aligner(6, 5, dim=4, hidden=8)
    step = alignment_step(net, images, texts, label[:, None] == of_text[None], batch=12, targets=targets)
    step(0, np.random.default_rng(1))["contrast"].backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def test_with_one_wording_a_class_unicl_is_clip():
    close(gradient("unicl", True), gradient("clip", True))


def test_with_several_wordings_it_is_not():
    assert (gradient("unicl", False) - gradient("clip", False)).abs().max() > 1e-3


def test_targets_are_shared_evenly_among_positives():
    """The card's formula on two images of one class and one of another, by hand."""
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 1.0], [0.0, 1.0, 2.0]])
    same = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    rows = torch.log_softmax(logits, 1)
    columns = torch.log_softmax(logits, 0)
    share = same / same.sum(1, keepdim=True)
    expected = -((share * rows).sum(1).mean() + (share * columns).sum(0).mean()) / 2
    close(multi_positive(logits, same), expected)


def test_no_true_sentence_is_an_error():
    net = Aligner(6, 5)
    with pytest.raises(BadInputError, match="nothing to align"):
        alignment_step(net, np.zeros((2, 6), np.float32), np.zeros((3, 5), np.float32), np.zeros((2, 3), bool))


def test_one_class_is_refused():
    system = open_system("medimageinsight")
    cases = [c.replace(labels={"class": "a"}) for c in system.example(3, 0)]
    with pytest.raises(BadInputError, match="nothing to tell apart"):
        system.train(cases, Budget(steps=1))


def test_the_model_is_an_embedder_and_refuses_another_base():
    system = open_system("medimageinsight")
    cases = system.example(8, 0)
    model = system.train([c.replace(labels={"class": "ab"[i % 2]}) for i, c in enumerate(cases)], Budget(steps=2))
    assert isinstance(model, TowerEmbedder)
    vectors = model.embed([c.images[0] for c in cases])
    close(np.linalg.norm(vectors, axis=1), 1)
    assert model.embed_text(["chest x-ray"]).shape == (1, model.dim)
    assert model.fingerprint != model.base.fingerprint
    with pytest.raises(BadInputError, match="another embedder"):
        type(model)({**model.config, "base_fingerprint": "0" * 64})


def test_kept_vectors_are_those_of_embed():
    system = open_system("medimageinsight")
    cases = system.example(8, 0)
    model = system.train(cases, Budget(steps=2))
    images = [c.images[0] for c in cases]
    close(model.embed_kept(images), model.embed(images))


def test_a_finding_is_said_in_words():
    system = open_system("medimageinsight")
    model = system.train(system.example(8, 0), Budget(steps=1), target="pleural effusion")
    assert model.config["classes"] == ["no pleural effusion", "pleural effusion"]
