"""TinyViT's parts against what they are made of, and the whole encoder's shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vesalius.nn.tiny_vit import OUT, STRIDE, Block, TinyViT, WindowAttention, fold


def _rounding(value: torch.Tensor) -> float:
    """Float32 sums of a few hundred terms in another order differ by less than this share of the largest value."""
    return 1e-4 * float(value.detach().abs().max())


def test_a_folded_convolution_is_the_convolution_and_its_norm():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.normal_()
        norm.running_var.uniform_(0.5, 2)
    state = {"a.c.weight": conv.weight.detach(), "other": torch.ones(2)}
    state |= {f"a.bn.{k}": v for k, v in norm.state_dict().items()}
    folded = fold(state)
    assert set(folded) == {"a.weight", "a.bias", "other"}
    x = torch.randn(2, 3, 8, 8)
    wanted = norm.eval()(conv(x))
    got = nn.functional.conv2d(x, folded["a.weight"], folded["a.bias"])
    torch.testing.assert_close(got, wanted, rtol=0, atol=_rounding(wanted))


def test_attention_is_softmax_of_scaled_products_and_the_bias_of_the_distance():
    torch.manual_seed(0)
    layer = WindowAttention(12, 3, 2).eval()
    nn.init.normal_(layer.attention_biases)
    x = torch.randn(1, 4, 12)
    parts = layer.qkv(layer.norm(x))[0].view(4, 3, 3, 4)  # place, head, query | key | value, width
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = []
    for i, (yi, xi) in enumerate(places):
        heads = []
        for h in range(3):
            scores = torch.stack(
                [
                    parts[i, h, 0] @ parts[j, h, 1] / 4**0.5
                    + layer.attention_biases[h, abs(yi - yj) * 2 + abs(xi - xj)]
                    for j, (yj, xj) in enumerate(places)
                ]
            )
            heads.append(scores.softmax(0) @ parts[:, h, 2])
        rows.append(torch.cat(heads))
    wanted = layer.proj(torch.stack(rows))[None]
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=_rounding(wanted))


def test_a_window_does_not_see_the_next_but_the_convolution_does():
    torch.manual_seed(0)
    block = Block(8, 2, 4).eval()
    x = torch.randn(1, 8, 8, 8)
    changed = x.clone()
    changed[:, 0, 7, 7] += 3  # one channel: the norm takes away what all have in common
    moved = (block(x) - block(changed)).abs().amax(1)[0] > 0
    assert moved[3:, 3:].all()  # its own window, and one cell around it through the 3x3 convolution
    assert not moved[:3].any()
    assert not moved[:, :3].any()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (56, 72)])
def test_the_map_has_a_quarter_of_the_side(height, width):
    net = TinyViT().eval()
    with torch.inference_mode():
        found = net(torch.rand(1, 3, height, width))
    assert found.shape == (1, OUT, height // STRIDE, width // STRIDE)
    assert found.isfinite().all()
