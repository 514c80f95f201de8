"""The loop against a bare PyTorch loop, and what a killed, diverging or incomplete run does."""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from tests.tolerance import FLOAT32, REPEATED, TRAINED, close
from vesalius.errors import BadInputError, CancelledError
from vesalius.job import Job
from vesalius.training.loop import Plan, train_loop

X = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32))
Y = (X @ torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0]))[:, None]
#: What two processes train together.
TOGETHER = Plan(steps=8, learning_rate=1e-2, weight_decay=0, warmup=3, seed=4, every=4)


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


def test_two_processes_train_one_net_on_the_batches_of_both(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[2]
    shared = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)]),
    }  # fmt: skip
    ours = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(tmp_path)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(240) for process in ours] == [0, 0]
    finally:
        for process in ours:
            process.kill()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    # By hand: the mean of the gradients on both processes' batches.
    bare = net()
    optimiser = torch.optim.AdamW(bare.parameters(), weight_decay=0)
    losses = []
    for k in range(TOGETHER.steps):
        for group in optimiser.param_groups:
            group["lr"] = TOGETHER.learning_rate * TOGETHER.rate(k)
        draws = [np.random.default_rng(s).choice(64, 16, replace=False) for s in ((4, k), (4, k, 1))]
        assert set(draws[0]) != set(draws[1])
        loss = sum(F.mse_loss(bare(X[i]), Y[i]) for i in draws) / 2
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    for one in (first, second):
        close(one["weights"], weights(bare), TRAINED)
        assert one["losses"] == pytest.approx(losses, rel=TRAINED)
        assert "training was stopped" in one["stopped"]
    assert len(first["said"]) == 2  # of the two checkpoints
    assert second["said"] == []
    stored = load_file(tmp_path / "work" / "checkpoint.safetensors")
    close(torch.cat([stored[f"net.{k}"].flatten() for k, _ in bare.named_parameters()]), first["weights"], REPEATED)
    assert int(load_file(tmp_path / "stopped" / "checkpoint.safetensors")["step"]) == 4


def test_a_cancelled_run_keeps_what_it_has_and_goes_on(tmp_path):
    whole, part, second = net(), net(), net()
    plan = Plan(steps=9, every=100)
    train_loop(whole, step_of(whole), plan)
    good, job, seen = step_of(part), Job(), []

    def step(number, rng):
        if number == 4:
            job.cancel()
        return good(number, rng)

    with pytest.raises(CancelledError, match="go on from step 5"):
        train_loop(part, step, plan, work=tmp_path, job=job)
    told = Job(on_progress=seen.append)
    train_loop(second, step_of(second), plan, work=tmp_path, resume=True, job=told)
    close(weights(second), weights(whole), REPEATED)
    assert (seen[-1].what, seen[-1].done, seen[-1].total) == ("training", 4, 4)


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
    train_loop(second, step_of(second), plan, work=tmp_path, resume=True, job=Job(on_note=said.append))
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
