"""Card 62: a missing input leaves no trace, and nothing at all gives the prevalence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tolerance import REPEATED, close
from vesalius.cases import Case
from vesalius.systems import open_system
from vesalius.systems.classify.three_mt.dropout import modality_dropout
from vesalius.systems.classify.three_mt.net import MixingBlock, MixingCascade, ScalarTokens
from vesalius.systems.frame.budget import Budget


def cascade():
    torch.manual_seed(0)
    return MixingCascade(2, 16, 3).eval()


def test_a_missing_stage_is_the_identity_whatever_its_tokens_hold():
    net = cascade()
    tokens = [torch.randn(4, 5, 16), torch.randn(4, 7, 16)]
    known = [torch.ones(4, 5, dtype=torch.bool), torch.ones(4, 7, dtype=torch.bool)]
    known[1][:] = False
    with torch.no_grad():
        a, ran = net(tokens, known)
        b, _ = net([tokens[0], tokens[1] * 100 + 3], known)
    close(a[:, 0], b[:, 0], REPEATED)
    assert ran.tolist() == [[True, False]] * 4
    # the later stage's answer is read off queries that it did not change
    close(a[:, 1], net.answers[1](_after_first(net, tokens, known).mean(1)))


def _after_first(net, tokens, known):
    h = net.queries.expand(len(tokens[0]), -1, -1)
    for block in net.stages[0]:
        h = block(h, tokens[0], ~known[0])
    return h


def test_a_missing_number_is_not_read():
    net = cascade()
    tokens = [torch.randn(2, 5, 16), torch.randn(2, 7, 16)]
    known = [torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 7, dtype=torch.bool)]
    known[0][:, 3] = False
    other = [tokens[0].clone(), tokens[1]]
    other[0][:, 3] = 99
    with torch.no_grad():
        close(net(other, known)[0], net(tokens, known)[0], REPEATED)


def test_nothing_known_gives_no_nan():
    net = cascade()
    tokens = [torch.randn(2, 5, 16), torch.randn(2, 7, 16)]
    with torch.no_grad():
        logits, ran = net(tokens, [torch.zeros(2, 5, dtype=torch.bool), torch.zeros(2, 7, dtype=torch.bool)])
    assert torch.isfinite(logits).all()
    assert not ran.any()


def test_a_block_equals_attention_by_hand():
    torch.manual_seed(0)
    block = MixingBlock(8, 1).eval()
    q, t = torch.randn(1, 2, 8), torch.randn(1, 4, 8)
    hidden = torch.tensor([[False, False, True, False]])
    with torch.no_grad():
        w, b = block.cross.in_proj_weight, block.cross.in_proj_bias
        a, k = block.norms[0](q), block.norms[1](t[:, [0, 1, 3]])
        query, key, value = a @ w[:8].T + b[:8], k @ w[8:16].T + b[8:16], k @ w[16:].T + b[16:]
        h = q + block.cross.out_proj(torch.softmax(query @ key.transpose(1, 2) / 8**0.5, -1) @ value)
        n = block.norms[2](h)
        w, b = block.own.in_proj_weight, block.own.in_proj_bias
        query, key, value = n @ w[:8].T + b[:8], n @ w[8:16].T + b[8:16], n @ w[16:].T + b[16:]
        h = h + block.own.out_proj(torch.softmax(query @ key.transpose(1, 2) / 8**0.5, -1) @ value)
        h = h + block.mlp(block.norms[3](h))
        close(block(q, t, hidden), h)


def test_one_line_a_number():
    net = ScalarTokens(2, 4)
    out = net(torch.tensor([[2.0, float("nan")]]))
    close(out[0, 0], 2 * net.weight[0] + net.bias[0])
    assert torch.isfinite(out).all()


def test_dropout_keeps_at_least_one_and_adds_none():
    rng = np.random.default_rng(0)
    present = rng.random((4000, 3)) < 0.7
    kept = modality_dropout(present, 0.5, rng)
    assert not (kept & ~present).any()
    assert (kept.any(1) == present.any(1)).all()
    lone = present.sum(1) == 1
    assert (kept[lone] == present[lone]).all()
    full = present.all(1)
    # each stays with 1/2, plus a third of the 1/8 in which all would have gone
    assert kept[full].mean() == pytest.approx(0.5 + 1 / 24, abs=0.03)


def test_a_case_with_nothing_gets_the_prevalence():
    system = open_system("3mt")
    model = system.train(system.example(40, 0), Budget(steps=2))
    out = model.predict_cases([Case("nothing")])
    close(out[0], model.config["prior"])
    assert model.predict_cases([system.example(1, 1)[0].replace(images=())]).shape == (1, 2)
