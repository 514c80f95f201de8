"""The multi-positive loss against PyTorch's cross entropy and against loops."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.losses.contrastive import multi_positive


@pytest.mark.parametrize("n", [1, 2, 7])
def test_identity_targets_give_clips_loss(n):
    logits = torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    target = torch.arange(n)
    want = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert float(multi_positive(logits, torch.eye(n))) == pytest.approx(float(want))


def _by_loops(logits, weight, ignore):
    """The formula, one pair at a time."""

    def one_way(get, rows, columns):
        losses = []
        for i in range(rows):
            seen = [j for j in range(columns) if not get(ignore, i, j)]
            total = sum(get(weight, i, j) for j in seen)
            if total <= 0:
                continue
            log_sum = math.log(sum(math.exp(get(logits, i, j)) for j in seen))
            losses.append(-sum(get(weight, i, j) / total * (get(logits, i, j) - log_sum) for j in seen))
        return sum(losses) / len(losses) if losses else 0.0

    n, m = len(logits), len(logits[0])
    return (one_way(lambda a, i, j: a[i][j], n, m) + one_way(lambda a, j, i: a[i][j], m, n)) / 2


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_it_is_the_formula(n, m, seed):
    g = torch.Generator().manual_seed(seed)
    logits = (3 * torch.randn(n, m, generator=g, dtype=torch.float64)).requires_grad_()
    weight = (torch.rand(n, m, generator=g) < 0.4) * torch.rand(n, m, generator=g).double()
    ignore = torch.rand(n, m, generator=g) < 0.3
    loss = multi_positive(logits, weight, ignore)
    assert float(loss.detach()) == pytest.approx(_by_loops(logits.tolist(), weight.tolist(), ignore.tolist()))
    loss.backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[ignore] == 0).all()


def test_what_is_ignored_does_not_matter():
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    ignore = torch.zeros(4, 4, dtype=torch.bool)
    ignore[0, 1] = ignore[2, 3] = True
    changed = logits.masked_fill(ignore, 50.0)
    assert multi_positive(logits, torch.eye(4), ignore) == multi_positive(changed, torch.eye(4), ignore)
    assert multi_positive(logits, torch.eye(4)) != multi_positive(changed, torch.eye(4))


@pytest.mark.parametrize("ignored", [False, True])
def test_a_batch_without_positives_teaches_nothing(ignored):
    logits = torch.randn(3, 4, requires_grad=True)
    loss = multi_positive(logits, torch.zeros(3, 4), torch.full((3, 4), ignored))
    loss.backward()
    assert float(loss) == 0
    assert (logits.grad == 0).all()


def test_large_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    loss = multi_positive(logits, torch.eye(2).flip(0))
    loss.backward()
    assert float(loss) == pytest.approx(2e4)
    assert torch.isfinite(logits.grad).all()
