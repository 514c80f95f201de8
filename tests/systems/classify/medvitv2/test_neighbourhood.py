"""Neighbourhood attention against one loop over places, on maps of every awkward size."""

from __future__ import annotations

import pytest
import torch

from tests.tolerance import close
from vesalius.systems.classify.medvitv2 import neighbourhood
from vesalius.systems.classify.medvitv2.neighbourhood import NeighbourhoodAttention, neighbours, widest


def brute_side(size, window, dilation, i):
    """NATTEN's rule by search: of the place's residue class, the `window` places in a row nearest to centred on it."""
    window = min(window, size)
    own = [j for j in range(size) if j % dilation == i % dilation]
    runs = [own[s : s + window] for s in range(len(own) - window + 1)]
    return min(runs, key=lambda run: abs(run[window // 2] - i))


@pytest.mark.parametrize(
    ("size", "window", "dilation"),
    [(7, 7, 1), (8, 7, 1), (14, 7, 2), (15, 7, 2), (23, 7, 3), (5, 3, 1), (6, 3, 2), (7, 3, 2), (13, 5, 2), (56, 7, 8)],
)
def test_each_place_has_all_its_neighbours_also_at_the_border(size, window, dilation):
    found = neighbours(size, window, dilation)
    assert found.shape == (size, window)
    for i in range(size):
        assert found[i].tolist() == brute_side(size, window, dilation, i)
        assert i in found[i]


def test_a_short_side_takes_what_there_is():
    assert neighbours(4, 7).tolist() == [[0, 1, 2, 3]] * 4
    assert torch.equal(neighbours(13, 7, 2), neighbours(13, 7, 1))
    assert (widest(56, 7), widest(13, 7), widest(3, 7)) == (8, 1, 1)


def brute(net, x, dilation):
    n, height, width, channels = x.shape
    d = channels // net.heads
    w, b = net.qkv.weight, net.qkv.bias
    q, k, v = (x @ w[i * channels : (i + 1) * channels].T + b[i * channels : (i + 1) * channels] for i in range(3))
    out = torch.zeros_like(x)
    side = 2 * net.window - 1
    steps = [min(dilation, max(s // net.window, 1)) for s in (height, width)]
    for image in range(n):
        for r in range(height):
            for c in range(width):
                near = [
                    (i, j)
                    for i in brute_side(height, net.window, steps[0], r)
                    for j in brute_side(width, net.window, steps[1], c)
                ]
                for head in range(net.heads):
                    part = slice(head * d, (head + 1) * d)
                    score = []
                    for i, j in near:
                        row, column = (i - r) // steps[0] + net.window - 1, (j - c) // steps[1] + net.window - 1
                        logit = q[image, r, c, part] @ k[image, i, j, part] / d**0.5
                        score.append(logit + net.bias[head, row * side + column])
                    share = torch.softmax(torch.stack(score), 0)
                    out[image, r, c, part] = share @ torch.stack([v[image, i, j, part] for i, j in near])
    return out @ net.out.weight.T + net.out.bias


@pytest.mark.parametrize("path", ["dense", "gathered"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("shape", "window"), [((7, 7), 3), ((6, 9), 3), ((14, 15), 7), ((4, 8), 7), ((5, 11), 5)])
def test_attention_by_brute_force(shape, window, dilation, path, monkeypatch):
    monkeypatch.setattr(neighbourhood, "_DENSE", 10**9 if path == "dense" else 0)
    torch.manual_seed(0)
    net = NeighbourhoodAttention(8, 2, window)
    torch.nn.init.normal_(net.bias)
    x = torch.randn(2, *shape, 8)
    with torch.no_grad():
        close(net(x, dilation), brute(net, x, dilation))


def test_both_ways_have_the_same_gradients(monkeypatch):
    torch.manual_seed(0)
    net = NeighbourhoodAttention(8, 2, 3)
    x = torch.randn(1, 7, 6, 8)
    found = []
    for limit in (0, 10**9):
        monkeypatch.setattr(neighbourhood, "_DENSE", limit)
        net.zero_grad()
        net(x, 2).square().sum().backward()
        found.append({n: p.grad.clone() for n, p in net.named_parameters()})
    for name, gradient in found[0].items():
        close(gradient, found[1][name])
    assert found[0]["bias"].abs().max() > 0


def test_dilation_widens_what_a_place_sees():
    net = NeighbourhoodAttention(8, 2, 3)
    spans = []
    for dilation in (1, 4):
        x = torch.randn(1, 12, 12, 8, requires_grad=True)
        net(x, dilation)[0, 6, 6].sum().backward()
        seen = torch.nonzero(x.grad[0].abs().sum(-1))
        assert len(seen) == 9
        spans.append((seen.max(0).values - seen.min(0).values).tolist())
    assert spans == [[2, 2], [8, 8]]
