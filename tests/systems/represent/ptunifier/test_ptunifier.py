"""Card 46: one net for image, text and pair; pools that learn; and a loss that is left out is an error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.tolerance import close
from vesalius.cases import Image
from vesalius.errors import BadInputError
from vesalius.job import Job
from vesalius.systems import open_system
from vesalius.systems.frame.budget import Budget
from vesalius.systems.represent.ptunifier.losses import WEIGHTS, Sentences, pair_step
from vesalius.systems.represent.ptunifier.model import captions
from vesalius.systems.represent.ptunifier.net import UnifiedPair
from vesalius.training.loop import Plan, train_loop


@pytest.fixture(scope="module")
def trained():
    system = open_system("ptunifier")
    cases = system.example(16, 101)
    return system.train(cases, Budget(steps=3), Job(seed=1)), cases


def toy(n=24):
    torch.manual_seed(0)
    net = UnifiedPair(10, 12, cells=4, words=8, dim=16, out=8, pool=20, layers=1, heads=2)
    kind = torch.arange(n) % 3
    means = torch.randn(3, 10), torch.randn(3, 12)
    cells = means[0][kind][:, None] + 0.1 * torch.randn(n, 4, 10)
    words = Sentences(means[1][:, None] + 0.1 * torch.randn(3, 5, 12), torch.ones(3, 5, dtype=torch.bool))
    return net, cells, words, [[int(k)] for k in kind]


def test_one_step_moves_both_pools():
    net, cells, words, said = toy()
    before = {k: p.rows.detach().clone() for k, p in net.pools.items()}
    train_loop(net, pair_step(net, cells, words, said), Plan(steps=1, weight_decay=0, weights=WEIGHTS))
    for name, pool in net.pools.items():
        moved = (pool.rows.detach() - before[name]).abs().sum(1) > 0
        assert 0 < moved.sum() < len(moved), name  # those that were chosen, and no others


def test_a_loss_that_is_never_computed_is_an_error():
    net, cells, words, said = toy()
    step = pair_step(net, cells, words, said)
    with pytest.raises(BadInputError, match="itc"):
        train_loop(net, lambda n, rng: {"itm": step(n, rng)["itm"]}, Plan(steps=2, weights=WEIGHTS))


def test_pairs_of_a_toy_world_are_learned_from_either_side():
    net, cells, words, said = toy()
    history = train_loop(net, pair_step(net, cells, words, said, batch=12), Plan(steps=80, learning_rate=3e-3,
                                                                                 weights=WEIGHTS))  # fmt: skip
    with torch.no_grad():
        v, t = net.vector(net(cells)), net.vector(net(words=words.embeddings, real=words.real))
        assert (v @ t.T).argmax(1).tolist() == [k for (k,) in said]
        own = net.match(net(cells, *words[[k for (k,) in said]]))
        other = net.match(net(cells, *words[[(k + 1) % 3 for (k,) in said]]))
    assert ((own[:, 1] - own[:, 0]) > (other[:, 1] - other[:, 0])).float().mean() > 0.9
    assert set(history.losses) == set(WEIGHTS)


def test_every_kind_of_case_goes_through_the_one_net(trained):
    model, cases = trained
    pair = cases[0]
    image_only, text_only = pair.replace(report=None), pair.replace(images=())
    out = np.stack([model.summary_of(c).numpy() for c in (pair, image_only, text_only)])
    assert out.shape == (3, 128)
    assert np.abs(out[0] - out[1]).max() > 1e-3
    assert np.abs(out[0] - out[2]).max() > 1e-3
    with pytest.raises(BadInputError, match="neither"):
        model.summary_of(pair.replace(images=(), report=None))


def test_verbs_take_it_as_an_embedder(trained):
    model, cases = trained
    images = [c.images[0] for c in cases[:3]]
    v, t = model.embed(images), model.embed_text(["Pleural effusion.", "No abnormality."])
    assert v.shape == (3, 64)
    assert t.shape == (2, 64)
    close(np.linalg.norm(np.concatenate([v, t]), axis=1), 1)
    volume = Image(array=np.stack([images[0].pixels()] * 3), modality="CT", kind="3d")
    assert model.embed([volume]).shape == (1, 64)
    assert len(model.fingerprint) == 64


def test_closed_questions_have_shares_that_do_not_depend_on_order(trained):
    model, cases = trained
    said = ["pleural effusion", "no abnormality", "a pneumothorax on the left, large, with a shift"]
    p = model.answer(cases[0].images[0], said)
    assert p.sum() == pytest.approx(1)
    close(model.answer(cases[0].images[0], said[::-1])[::-1], p)


def test_a_report_is_what_is_said_else_the_class():
    case = open_system("ptunifier").example(1, 101)[0]
    assert captions(case) == [case.report.impression]
    written = captions(dataclasses.replace(case, report=None))
    assert len(written) > 5


def test_cases_that_say_nothing_are_refused():
    system = open_system("ptunifier")
    with pytest.raises(BadInputError):
        system.train([], Budget(steps=1))
    net, cells, words, _ = toy()
    with pytest.raises(BadInputError, match="nothing to tell apart"):
        pair_step(net, cells, words, [[0]] * len(cells))
    with pytest.raises(BadInputError, match="do not pair"):
        pair_step(net, cells, words, [[]] * len(cells))
