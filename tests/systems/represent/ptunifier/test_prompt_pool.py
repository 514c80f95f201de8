"""Pools and co-attention against loops written out, and where gradients go."""

from __future__ import annotations

import pytest
import torch

from tests.tolerance import close
from vesalius.systems.represent.ptunifier.coattention import CoAttention
from vesalius.systems.represent.ptunifier.net import UnifiedPair
from vesalius.systems.represent.ptunifier.prompt_pool import PromptPool, masked_mean


def net(stand="pool"):
    torch.manual_seed(0)
    return UnifiedPair(10, 12, cells=4, words=8, dim=16, out=8, pool=20, layers=2, heads=2, stand=stand)


def inputs(n=3):
    g = torch.Generator().manual_seed(1)
    real = torch.ones(n, 6, dtype=torch.bool)
    real[0, 4:] = False
    return torch.randn(n, 4, 10, generator=g), torch.randn(n, 6, 12, generator=g), real


def test_the_rows_nearest_by_dot_product_are_taken_and_trained():
    pool = PromptPool(30, 8, 5)
    query = torch.randn(4, 8)
    with torch.no_grad():
        expected = [sorted(range(30), key=lambda r: -float(q @ pool.rows[r]))[:5] for q in query]
    assert pool.choose(query).tolist() == expected
    pool(query).sum().backward()
    touched = {r for rows in expected for r in rows}
    assert set(pool.rows.grad.abs().sum(1).nonzero()[:, 0].tolist()) == touched


def test_a_static_pool_gives_all_the_same():
    pool = PromptPool(30, 8, 5, static=True)
    out = pool(torch.randn(4, 8))
    assert torch.equal(out, pool.rows[:5].expand(4, -1, -1))
    with pytest.raises(ValueError, match="cannot take"):
        PromptPool(3, 8, 5)


def test_mean_counts_real_tokens_only():
    tokens, real = torch.randn(2, 4, 3), torch.tensor([[True, True, False, False], [False] * 4])
    close(masked_mean(tokens, real), torch.stack([tokens[0, :2].mean(0), torch.zeros(3)]))


def test_streams_read_the_other_one_as_it_was_a_layer_before():
    torch.manual_seed(0)
    stack = CoAttention(8, 2, 2).eval()
    a, b = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    ra, rb = torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool)
    x, y = stack(a, ra, b, rb)
    a1, b1 = stack.first[0](a, ra, b, rb), stack.second[0](b, rb, a, ra)
    close(x, stack.norms[0](stack.first[1](a1, ra, b1, rb)))
    close(y, stack.norms[1](stack.second[1](b1, rb, a1, ra)))


@pytest.mark.parametrize("which", ["image", "text", "pair"])
def test_padding_is_not_read(which):
    model = net().eval()
    cells, words, real = inputs()
    other = words.clone()
    other[0, 4:] = 99
    image = None if which == "text" else cells
    given = (None, None, None) if which == "image" else (words, other, real)
    with torch.no_grad():
        close(model(image, given[0], given[2]), model(image, given[1], given[2]))
        # and a batch of one, cut at its own length, is the same as in the batch
        if which != "image":
            one = model(None if image is None else image[:1], words[:1, :4], real[:1, :4])
            close(one, model(image, words, real)[:1])


def test_a_missing_side_is_stood_in_by_what_the_other_chooses():
    cells, words, real = inputs()
    model = net().eval()
    with torch.no_grad():
        v = model.cell(cells) + model.cell_place[1:]
        chosen = model.pools["text"].choose(v.mean(1))
        assert len({tuple(row) for row in chosen.tolist()}) > 1
        before = model(cells)
        model.pools["text"].rows[[r for r in range(20) if r not in set(chosen.flatten().tolist())]] += 1e-4
        close(model(cells), before)  # rows that nobody chose say nothing
    with pytest.raises(ValueError, match="an image, or a text"):
        model(None, words, None)
    assert model(cells, words, real).shape == (3, 32)


@pytest.mark.parametrize(("stand", "trained"), [("pool", True), ("static", True), ("zeros", False)])
def test_pools_get_gradient_from_the_contrast_alone(stand, trained):
    model = net(stand)
    cells, words, real = inputs()
    logits = model.vector(model(cells)) @ model.vector(model(words=words, real=real)).T
    torch.nn.functional.cross_entropy(logits / 0.1, torch.arange(3)).backward()
    for pool in model.pools.values():
        grad = pool.rows.grad
        assert (grad is not None and float(grad.norm()) > 0) is trained or (grad is not None and not grad.any())
        if trained:
            assert float(grad.norm()) > 0
