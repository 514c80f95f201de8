"""Coarse maps of names: shapes, independence of rows, and that it can learn what a name means."""

from __future__ import annotations

import torch

from vesalius.nn.locate import Locator


def test_rows_do_not_depend_on_each_other():
    torch.manual_seed(0)
    net = Locator(6, 5, dim=8, pool=2).eval()
    cells = net.cells(net.pooled(torch.randn(2, 6, 16, 16)))
    assert cells.shape == (2, 8, 8, 8)
    words = torch.randn(2, 5)
    both, there = net(cells, words)
    alone, sure = net(cells[1:], words[1:])
    assert both.shape == (2, 8, 8)
    # Batches of two sizes sum in another order.
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(there[1:], sure, rtol=1e-4, atol=1e-5)


def test_it_learns_which_of_two_things_a_name_means_and_that_a_third_is_not_there():
    torch.manual_seed(0)
    net = Locator(2, 3, dim=8, pool=1)
    words = torch.eye(3)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)

    def batch():
        maps, truth = torch.zeros(8, 2, 8, 8), torch.zeros(8, 2, 8, 8)
        for i in range(8):
            for channel in (0, 1):
                y, x = torch.randint(0, 6, (2,), generator=generator).tolist()
                maps[i, channel, y : y + 2, x : x + 2] = 1
        return maps, maps.clone() + 0 * truth

    for _ in range(150):
        maps, truth = batch()
        cells = net.cells(net.pooled(maps))
        loss = torch.zeros(())
        for name in range(3):
            wanted = truth[:, name] if name < 2 else torch.zeros(8, 8, 8)
            logits, there = net(cells, words[name].expand(8, -1))
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(there, torch.full((8,), float(name < 2)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    maps, truth = batch()
    cells = net.cells(net.pooled(maps))
    for name in (0, 1):
        logits, there = net(cells, words[name].expand(8, -1))
        assert ((logits > 0) == (truth[:, name] > 0.5)).float().mean() > 0.97
        assert (there > 0).all()
    assert (net(cells, words[2].expand(8, -1))[1] < 0).all()
