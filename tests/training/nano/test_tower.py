"""Tuning the tower, a few steps at a time: the start, going on, what stays, and the mean with ImageNet's weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from vesalius.cases import Case, Image, Source
from vesalius.job import Job
from vesalius.models.nano.model import NanoNet
from vesalius.training.nano.targets import targets_of
from vesalius.training.nano.tower import DRAWN, TowerRecipe, averaged, imagenet, side_by_side, tune

RNG = np.random.default_rng(0)


def case(i, dataset, modality, body, **labels):
    return Case(
        f"{dataset}/{i}", images=(Image(array=np.zeros((4, 4), np.uint8), modality=modality, body_part=body),),
        labels=labels, source=Source(dataset),
    )  # fmt: skip


CASES = [case(i, "busi", "US", "breast", **{"class": ("benign", "malignant")[i % 2]}) for i in range(6)]
CASES += [case(i, "nih-cxr14", "DX", "chest", Pneumonia=i % 2) for i in range(6)]
DRAWINGS = [case(i, "phantom-ct", "CT", "chest") for i in range(3)]
VIEWS = [RNG.integers(0, 255, (1, 3, 64, 64), dtype=np.uint8) for _ in (*CASES, *DRAWINGS)]


def recipe(steps: int) -> TowerRecipe:
    return TowerRecipe(share={DRAWN: 0.2}, steps=steps, sizes=((0.0, 64),), batch=8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of four steps, and one that was stopped after two and went on."""
    import dataclasses

    from vesalius.training import loop

    folder = tmp_path_factory.mktemp("tower")
    plain = TowerRecipe.plan
    try:
        TowerRecipe.plan = lambda self: dataclasses.replace(plain(self), every=2)  # type: ignore[method-assign]
        whole = tune(recipe(4), CASES, DRAWINGS, VIEWS, folder / "whole", Job())
        written, write = [], loop._State.write

        def stop(self, work, step):
            write(self, work, step)
            written.append(step)
            if step == 2 and len(written) == 1:
                raise KeyboardInterrupt

        loop._State.write = stop  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            tune(recipe(4), CASES, DRAWINGS, VIEWS, folder / "part", Job())
        again = tune(recipe(4), CASES, DRAWINGS, VIEWS, folder / "part", Job(), resume=True)
    finally:
        TowerRecipe.plan = plain  # type: ignore[method-assign]
        loop._State.write = write  # type: ignore[method-assign]
    assert written == [2, 4]
    return whole, again


def test_a_stopped_run_goes_on_to_the_same_result(runs):
    whole, again = (net.state_dict() for net in runs)
    for name, tensor in whole.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_the_first_blocks_stay_imagenets_and_the_rest_moves(runs):
    state, before = runs[0].tower.state_dict(), imagenet()
    same = {name for name, tensor in before.items() if torch.equal(state[name], tensor)}
    fixed = {n for n in before if n.startswith(("stem.", *(f"blocks.{i}." for i in range(5))))}
    assert fixed <= same
    assert not any(n.endswith("0.weight") and "blocks.9" in n for n in same)


def test_the_mean_lies_between_imagenet_and_tuned(runs):
    tuned, before = runs[0].tower.state_dict(), imagenet()
    half = averaged(tuned, 0.5)
    name = "blocks.9.project.0.weight"
    torch.testing.assert_close(half[name], (tuned[name] + before[name]) / 2)
    none = averaged(tuned, 0.0)
    assert all(torch.equal(none[n], t) for n, t in before.items() if t.dtype.is_floating_point)
    NanoNet().tower.load_state_dict(half)


def test_parts_side_by_side_give_the_mean_gradient_of_both():
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

    torch.manual_seed(0)
    net = Tiny()
    data = torch.randn(2, 5, 3)

    def losses(one, number, rng):
        which = 0 if rng.integers(10**6) == np.random.default_rng((7, number, 0)).integers(10**6) else 1
        return {"a": one.layer(data[which]).pow(2).mean(), "b": one.layer(data[which]).mean()}

    with ThreadPoolExecutor(2) as pool:
        found = side_by_side(net, losses, 2, pool, 7)(0, np.random.default_rng(0))
        torch.stack(list(found.values())).sum().backward()
    got = net.layer.weight.grad.clone()
    net.zero_grad()
    want = sum(net.layer(d).pow(2).mean() + net.layer(d).mean() for d in data) / 2
    want.backward()
    torch.testing.assert_close(got, net.layer.weight.grad)
    torch.testing.assert_close(sum(found.values()), want.detach())


def test_targets_of_a_set_exclude_each_other_and_cost_nothing_where_unknown():
    targets = targets_of([*CASES, case(9, "busi", "US", "breast")], {}, 1.0)
    names = {b.name: b for b in targets.blocks}
    assert names["busi/class"].exclusive
    assert names["busi/class"].values == ("benign", "malignant")
    assert not names["nih-cxr14/Pneumonia"].exclusive
    assert names["kind"].values == ("DX chest", "US breast")
    unknown = torch.full((2, targets.truth.shape[1]), float("nan"))
    assert float(targets.loss(torch.randn_like(unknown), unknown)) == 0
    # Against the definition, one row: cross-entropy of each known block.
    out = torch.randn(1, targets.truth.shape[1], generator=torch.Generator().manual_seed(0))
    row, want, start = torch.from_numpy(targets.truth[:1]), 0.0, 0
    for block in targets.blocks:
        here = slice(start, start + len(block.values))
        start = here.stop
        if torch.isnan(row[0, here]).any():
            continue
        if block.exclusive:
            want -= float(out[0, here].log_softmax(0)[int(row[0, here].argmax())])
        else:
            want += float(nn.functional.binary_cross_entropy_with_logits(out[0, here], row[0, here]))
    assert float(targets.loss(out, row)) == pytest.approx(want, rel=1e-5)
