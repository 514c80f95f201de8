"""FasterKAN against its formula, and the two feed-forward nets at the same price."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tests.tolerance import close
from vesalius.systems.classify.medvitv2.kan import ChannelKAN, ChannelMLP, FasterKAN


def test_a_layer_is_bumps_times_a_matrix():
    torch.manual_seed(0)
    layer = FasterKAN(3, 2)
    x = torch.randn(5, 3)
    normed = F.layer_norm(x, (3,))
    want = torch.zeros(5, 2)
    for i in range(3):
        for k in range(8):
            knot = -2 + 4 * k / 7
            for o in range(2):
                weight = layer.linear.weight[o, i * 8 + k]
                want[:, o] += weight * torch.tensor(
                    [1 - math.tanh((float(v) - knot) / 0.33) ** 2 for v in normed[:, i]]
                )
    close(layer(x), want)


def test_the_knots_are_no_weights_but_are_saved():
    layer = FasterKAN(3, 2)
    assert {n for n, _ in layer.named_parameters()} == {"norm.weight", "norm.bias", "linear.weight"}
    assert "knots" in layer.state_dict()


@pytest.mark.parametrize("channels", [32, 96, 128])
def test_kan_and_mlp_cost_the_same(channels):
    kan, mlp = (sum(p.numel() for p in m(channels).parameters()) for m in (ChannelKAN, ChannelMLP))
    assert kan == 2 * 8 * channels * 2 * channels + 2 * channels + 4 * channels
    assert mlp == pytest.approx(kan, rel=0.02)


@pytest.mark.parametrize("feed", [ChannelKAN, ChannelMLP])
def test_each_place_is_read_on_its_own_along_the_channels(feed):
    torch.manual_seed(0)
    net = feed(4)
    x = torch.randn(2, 4, 3, 5)
    out = net(x)
    assert out.shape == x.shape
    close(out[1, :, 2, 3], net.layers(x[1, :, 2, 3]))
