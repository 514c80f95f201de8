"""Positions, fusion and the grounding net."""

from __future__ import annotations

import pytest
import torch

from tests.tolerance import close
from vesalius.errors import BadInputError
from vesalius.nn.fusion import FusionTransformer
from vesalius.nn.grounding import GroundNet
from vesalius.nn.position import sine_2d


def test_positions_tell_all_cells_apart_and_know_rows_from_columns():
    p = sine_2d(14, 14, 64)
    assert p.shape == (196, 64)
    apart = torch.cdist(p, p) + torch.eye(196) * 9
    assert apart.min() > 0.1
    grid = p.view(14, 14, 64)
    close(grid[3, :, :32], grid[3, :1, :32].expand(14, -1))  # a row shares its first half
    close(grid[:, 3, 32:], grid[:1, 3, 32:].expand(14, -1))
    with pytest.raises(BadInputError, match="multiple of 4"):
        sine_2d(2, 2, 6)


def test_two_grids_agree_on_the_middle():
    wide = sine_2d(3, 3, 16, shortest=2.0)[4]
    assert torch.isfinite(wide).all()
    same = sine_2d(1, 1, 4)[0]
    # one cell: wavelength of two pictures, its middle is at a quarter of it
    close(same, torch.tensor([1.0, 0.0, 1.0, 0.0]))


def test_fusion_shows_the_last_attention_and_equals_itself_without_padding():
    torch.manual_seed(0)
    net = FusionTransformer(16, 2, heads=2).eval()
    x = torch.randn(2, 6, 16)
    real = torch.ones(2, 6, dtype=torch.bool)
    real[:, 4:] = False
    with torch.no_grad():
        hidden, attention = net(x, real)
        short, _ = net(x[:, :4], real[:, :4])
    close(hidden[:, :4], short)
    close(attention.sum(2), torch.ones(2, 6))
    assert (attention[:, :, 4:] == 0).all()


def test_shown_attention_is_the_one_that_is_used():
    torch.manual_seed(0)
    net = FusionTransformer(8, 1, heads=2).eval()
    x, real = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    with torch.no_grad():
        shown, _ = net.layers[0](x, real, True)
        fused, none = net.layers[0](x, real, False)
    close(shown, fused)
    assert none is None


def test_net_reads_words_and_ignores_padding():
    torch.manual_seed(0)
    net = GroundNet(32, 2, channels=(4, 6), grid=4, text_dim=8).eval()
    fine, coarse, words = torch.randn(2, 4, 4, 4), torch.randn(2, 6, 2, 2), torch.randn(2, 5, 8)
    real = torch.tensor([[True] * 5, [True, True, True, False, False]])
    with torch.no_grad():
        out = net(fine, coarse, words, real)
        other = net(fine, coarse, torch.where(real[..., None], words, words + 9), real)
        alone = net(fine[1:], coarse[1:], words[1:, :3], real[1:, :3])
        said = net(fine, coarse, words.flip(2), real)
    assert out.box.shape == (2, 4)
    assert bool(((out.box > 0) & (out.box < 1)).all())
    close(out.box, other.box)
    close(out.box[1:], alone.box)
    assert (out.there - said.there).abs().max() > 1e-4
    assert out.heat.shape == (2, 16)
    close(out.heat.sum(1), torch.ones(2))


def test_box_starts_where_the_readout_looks():
    """With the box's own layers silent, its middle is the mean place of the readout's attention: x by columns."""
    torch.manual_seed(0)
    net = GroundNet(32, 1, channels=(4, 6), grid=4, text_dim=8).eval()
    torch.nn.init.zeros_(net.box[-1].weight)
    torch.nn.init.zeros_(net.box[-1].bias)
    with torch.no_grad():
        words = torch.randn(1, 3, 8)
        out = net(torch.randn(1, 4, 4, 4) * 5, torch.randn(1, 6, 2, 2), words, torch.ones(1, 3, dtype=torch.bool))
    heat, at = out.heat.view(4, 4), (torch.arange(4) + 0.5) / 4
    close(out.box[0, 0], (heat.sum(0) * at).sum())
    close(out.box[0, 1], (heat.sum(1) * at).sum())
