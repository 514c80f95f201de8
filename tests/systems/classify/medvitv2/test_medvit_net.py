"""MedViTV2: shapes, published sizes, where the corrected layout and the dilation make a difference."""

from __future__ import annotations

import pytest
import torch

from tests.tolerance import FLOAT32, close
from vesalius.systems.classify.medvitv2.net import (
    SIZES,
    GlobalBlock,
    LocalBlock,
    MedViT,
    PatchEmbed,
    PooledAttention,
    drop_path,
)


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("shape", [(48, 48), (32, 56), (33, 47)])
def test_pictures_of_any_shape(shape):
    net = MedViT(4).eval()
    with torch.no_grad():
        out = net(torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8))
    assert out.shape == (2, 4)
    assert torch.isfinite(out).all()


def test_mlp_instead_of_kan_has_as_many_weights():
    assert parameters(MedViT(5, feed="mlp")) == pytest.approx(parameters(MedViT(5)), rel=0.02)
    assert parameters(MedViT(5, dilated=False)) == parameters(MedViT(5, layout="reshaped")) == parameters(MedViT(5))


@pytest.mark.parametrize("name", ["tiny", "small", "base", "large"])
def test_published_sizes_have_the_published_pattern(name):
    with torch.device("meta"):
        net = MedViT(9, name)
    size = SIZES[name]
    kinds = "".join("G" if isinstance(b, GlobalBlock) else "L" for b in net.blocks)
    assert kinds == "LL" + "LG" + "LLGLLG" + "G" * size.depths[3]
    dims = [b.norm.num_features for b in net.blocks]
    assert dims == [d for d, n in zip(size.dims, size.depths, strict=True) for _ in range(n)]
    assert [b.dilated for b in net.blocks if isinstance(b, LocalBlock)] == [False, True, False] + [False, True] * 2
    assert all(b.far % 32 == 0 and b.far < b.norm.num_features for b in net.blocks if isinstance(b, GlobalBlock))


def test_a_larger_picture_reads_the_same_in_a_batch_or_alone():
    net = MedViT(3, "tiny").eval()
    x = torch.randint(0, 256, (2, 3, 96, 64))
    with torch.no_grad():
        close(net(x)[1], net(x[1:])[0])


def span(net_input, out):
    out.sum().backward()
    seen = torch.nonzero(net_input.grad.abs().sum((0, 1)) > 0)
    return int((seen.max(0).values - seen.min(0).values).max()) + 1


def test_the_receptive_field_of_the_dilated_block_is_wider():
    """By gradient, of the middle place after the attention alone: window 3 at dilation 1, then over the whole map."""
    found = {}
    for dilated in (False, True):
        block = LocalBlock(32, 32, 1, 7, 3, dilated, 0.0, "permuted").eval()
        block.feed = torch.nn.Identity()  # a convolution and a global squeeze would hide the attention's reach
        x = torch.randn(1, 32, 12, 12, requires_grad=True)
        found[dilated] = span(x, block(x)[:, :, 6, 6])
    assert found == {False: 3, True: 9}


@pytest.mark.parametrize("layout", ["permuted", "reshaped"])
def test_only_the_corrected_layout_keeps_places_in_place(layout):
    """A change far from a place's window must not reach it through the attention; reshaped, it does."""
    torch.manual_seed(0)
    block = LocalBlock(32, 32, 1, 7, 3, False, 0.0, layout).eval()
    block.feed = torch.nn.Identity()
    x = torch.randn(1, 32, 12, 12)
    other = x.clone()
    other[:, :, :, 6:] += 1
    with torch.no_grad():
        one, two = block(x), block(other)
        same = torch.isclose(one, two, rtol=0, atol=FLOAT32 * float(one.abs().max()))[:, :, :, :5].float().mean()
    if layout == "permuted":
        assert same == 1
    else:
        assert same < 0.9


def test_the_slip_moves_the_kan_too():
    torch.manual_seed(0)
    right, slipped = (GlobalBlock(32, 64, 1, 1, 0.0, "kan", layout).eval() for layout in ("permuted", "reshaped"))
    slipped.load_state_dict(right.state_dict())
    x = torch.randn(1, 32, 4, 4)
    with torch.no_grad():
        assert (right(x) - slipped(x)).abs().max() > 1e-2


def test_pooled_attention_by_hand():
    torch.manual_seed(0)
    net = PooledAttention(32, 2).eval()
    x = torch.randn(1, 32, 4, 6)
    with torch.no_grad():
        y = x / (1 + 1e-5) ** 0.5
        places = y.flatten(2)[0].T
        short = y.reshape(1, 32, 2, 2, 3, 2).mean((3, 5)).flatten(2)[0].T
        q = places @ net.q.weight.T + net.q.bias
        kv = short @ net.kv.weight.T + net.kv.bias
        read = torch.softmax(q @ kv[:, :32].T / 32**0.5, 1) @ kv[:, 32:]
        want = (read @ net.out.weight.T + net.out.bias).T.reshape(1, 32, 4, 6)
        close(net(x), want)


def test_patch_embed_averages_only_what_is_there():
    embed = PatchEmbed(1, 1, 2).eval()
    torch.nn.init.ones_(embed.layers[1][0].weight)
    with torch.no_grad():
        out = embed(torch.ones(1, 1, 3, 5))
    close(out, torch.ones(1, 1, 2, 3))
    x = torch.randn(2, 8, 3, 3)
    assert PatchEmbed(8, 8, 1)(x) is x


def test_stochastic_depth_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(20000, 1, 1, 1)
    out = drop_path(x, 0.25, training=True)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert out.mean() == pytest.approx(1, abs=0.02)
    assert drop_path(x, 0.25, training=False) is x
