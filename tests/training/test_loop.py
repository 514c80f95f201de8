"""The loop against a bare PyTorch loop, and what a killed, diverging or incomplete run does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.tolerance import FLOAT32, REPEATED, TRAINED, close
from vesalius.errors import BadInputError
from vesalius.training.loop import Plan, train_loop

X = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32))
Y = (X @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]))[:, None]


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))


def step_of(model, batch=16):
    def step(_, rng):
        i = rng.choice(64, batch, replace=False)
        return {"mse": F.mse_loss(model(X[i]), Y[i])}

    return step


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_equals_a_bare_loop():
    plan = Plan(steps=30, learning_rate=1e-2, weight_decay=0.1, warmup=5, clip=0.5, seed=4)
    ours = net()
    history = train_loop(ours, step_of(ours), plan)
    bare = net()
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in bare.parameters() if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in bare.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    losses = []
    for k in range(30):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * min(1, (k + 1) / 5) * (0.01 + 0.99 * (1 + math.cos(math.pi * k / 30)) / 2)
        i = np.random.default_rng((4, k)).choice(64, 16, replace=False)
        loss = F.mse_loss(bare(X[i]), Y[i])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
        optimiser.step()
        losses.append(float(loss.detach()))
    close(weights(ours), weights(bare), TRAINED)
    assert history.losses["mse"] == pytest.approx(losses, rel=TRAINED)
    assert not ours.training


def test_accumulated_halves_equal_the_whole_batch():
    def halves(model):
        def step(number, _):
            i = np.random.default_rng(number // 2).permutation(64)[:32][16 * (number % 2) : 16 * (number % 2) + 16]
            return {"mse": F.mse_loss(model(X[i]), Y[i])}

        return step

    def whole(model):
        def step(number, _):
            i = np.random.default_rng(number).permutation(64)[:32]
            return {"mse": F.mse_loss(model(X[i]), Y[i])}

        return step

    a, b = net(), net()
    train_loop(a, halves(a), Plan(steps=10, accumulate=2))
    train_loop(b, whole(b), Plan(steps=10))
    close(weights(a), weights(b), TRAINED)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_killed_run_goes_on_to_the_same_result(tmp_path, average):
    plan = Plan(steps=20, every=5, average=average)
    whole = net()
    train_loop(whole, step_of(whole), plan)

    class KilledError(Exception):
        pass

    first = net()
    good = step_of(first)

    def dies(number, rng):
        if number == 13:
            raise KilledError
        return good(number, rng)

    with pytest.raises(KilledError):
        train_loop(first, dies, plan, work=tmp_path)
    second = net()
    said: list[str] = []
    train_loop(second, step_of(second), plan, work=tmp_path, resume=True, say=said.append)
    assert said[0] == "going on from step 10"
    close(weights(second), weights(whole), REPEATED)


def test_early_stop_survives_a_kill_and_keeps_the_best(tmp_path):
    scores = [0.1, 0.5, 0.4, 0.3, 0.9]
    plan = Plan(steps=50, every=2, evaluate_every=2, patience=2)

    def run(model, given, **more):
        kept = []

        def evaluate():
            kept.append(weights(model))
            return given[len(kept) - 1]

        return train_loop(model, step_of(model), plan, evaluate=evaluate, **more), kept

    whole = net()
    history, kept = run(whole, scores)
    assert history.stopped == "patience"
    assert history.step == 8
    assert torch.equal(weights(whole), kept[1])
    part = net()
    good = step_of(part)

    def dies(number, rng):
        if number == 6:
            raise KeyboardInterrupt
        return good(number, rng)

    seen = iter(scores)
    with pytest.raises(KeyboardInterrupt):
        train_loop(part, dies, plan, evaluate=lambda: next(seen), work=tmp_path)
    second = net()
    history, _ = run(second, scores[3:], work=tmp_path, resume=True)
    assert history.step == 8
    close(weights(second), weights(whole), REPEATED)


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 21}, {"learning_rate": 2e-3}])
def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path, change):
    first = net()
    train_loop(first, step_of(first), Plan(steps=20, every=5), work=tmp_path)
    second = net()
    with pytest.raises(BadInputError, match="another run"):
        train_loop(second, step_of(second), Plan(**{"steps": 20, "every": 5, **change}), work=tmp_path, resume=True)


def test_a_net_of_another_shape_is_refused(tmp_path):
    first = net()
    train_loop(first, step_of(first), Plan(steps=5, every=5), work=tmp_path)
    other = nn.Linear(5, 1)
    with pytest.raises(BadInputError, match="does not fit"):
        train_loop(other, step_of(other), Plan(steps=5, every=5), work=tmp_path, resume=True)


def test_divergence_names_the_step():
    model = net()
    with pytest.raises(BadInputError, match="step 3"):
        train_loop(model, lambda k, _: {"a": model(X).mean() * (math.nan if k == 3 else 1)}, Plan(steps=9))


def test_a_weighted_loss_that_is_not_computed_is_an_error():
    model = net()
    with pytest.raises(BadInputError, match="itc"):
        train_loop(model, step_of(model), Plan(steps=2, weights={"itc": 0.1}))


def test_weights_scale_losses_and_logs():
    model = net()
    history = train_loop(model, step_of(model), Plan(steps=1, weights={"mse": 0.5}))
    twin = net()
    assert history.losses["mse"][0] == pytest.approx(
        0.5 * train_loop(twin, step_of(twin), Plan(steps=1)).losses["mse"][0]
    )


def test_frozen_parameters_stay_bit_identical():
    model = net()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    train_loop(model, step_of(model), Plan(steps=5))
    assert torch.equal(model[0].weight, before)
    with pytest.raises(BadInputError, match="nothing to train"):
        train_loop(model.requires_grad_(False), step_of(model), Plan(steps=5))


def test_the_mean_of_the_weights_by_hand():
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    seen = []

    def step(_, __):
        seen.append(float(model.weight.detach()))
        return {"w": model.weight.sum()}

    train_loop(model, step, Plan(steps=3, average=0.9, warmup=0, weight_decay=0, clip=None, final=1.0))
    after = [*seen[1:], seen[-1] + (seen[-1] - seen[-2])]  # Adam's steps on a constant gradient are all alike
    mean = 1.0
    for k, w in enumerate(after):
        decay = min(0.9, (k + 1) / (k + 10))
        mean = decay * mean + (1 - decay) * w
    assert float(model.weight.detach()) == pytest.approx(mean, rel=FLOAT32)


def test_time_runs_out():
    model = net()
    history = train_loop(model, step_of(model), Plan(steps=10**6), seconds=0.0)
    assert history.stopped == "time"
    assert history.step == 0


def test_rates_by_name():
    model = net()
    before = model[2].weight.clone()
    train_loop(model, step_of(model), Plan(steps=3, rates={"2.": 0.0}, weight_decay=0))
    assert torch.equal(model[2].weight, before)
