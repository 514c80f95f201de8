"""The training loop that every recipe shares: one counter-based random stream, safe to kill, one process or several.

A recipe gives a net and a `step(number, rng)` that returns named losses. Every draw comes from `rng` (and torch's own
generator, seeded alike), which depend on the seed and the step alone, so a killed run goes on to the same result. Under
`accelerate launch` every process draws batches of its own, the rank joins the seed, and gradients are averaged.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vesalius.errors import BadInputError, CancelledError
from vesalius.job import Job
from vesalius.training.world import Step, open_world

CHECKPOINT = "checkpoint.safetensors"
PLAN = "checkpoint.json"


@dataclass(frozen=True)
class Plan:
    """How to train.

    Args:
        steps: Optimiser steps.
        learning_rate: Peak rate of AdamW.
        rates: Start of a parameter's name to a factor on the rate; the first that fits counts.
        weight_decay: AdamW's; vectors and scalars (biases, norms, temperatures) have none.
        warmup: Steps over which the rate rises linearly.
        final: What is left of the peak rate at the end of its cosine; 1 keeps it.
        accumulate: Calls of `step` whose mean gradient makes one optimiser step.
        clip: Largest norm of the gradient, or None.
        average: Decay of a running mean of the weights, which is what is left in the net at the end; 0 for none.
        weights: Factor of each named loss (1 where none is given). A loss that has a factor here but that `step` does
            not return is an error: it would silently be left out of training.
        seed: Seed of every draw.
        every: Steps between checkpoints, and between lines about progress.
        evaluate_every: Steps between evaluations, 0 for never.
        patience: Evaluations without a better score after which training stops; 0 for never.
    """

    steps: int
    learning_rate: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup: int = 20
    final: float = 0.01
    accumulate: int = 1
    clip: float | None = 1.0
    average: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    every: int = 100
    evaluate_every: int = 0
    patience: int = 0

    def rate(self, step: int) -> float:
        """Factor on the peak rate at a step (from 0): linear rise, then half a cosine."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return rise * (self.final + (1 - self.final) * (1 + math.cos(math.pi * step / self.steps)) / 2)

    def fingerprint(self) -> str:
        """SHA-256 over every field that the result depends on."""
        facts = {k: v for k, v in dataclasses.asdict(self).items() if k != "every"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass
class History:
    """What happened.

    Args:
        step: Optimiser steps done.
        losses: Name to the value at each step of this process, after weighting.
        scores: (step, score) of each evaluation.
        seconds: Wall time of this process.
        stopped: `done`, `time` or `patience`.
    """

    step: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    scores: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"


def train_loop(
    net: nn.Module,
    step: Step,
    plan: Plan,
    *,
    seconds: float | None = None,
    work: Path | None = None,
    resume: bool = False,
    evaluate: Callable[[], float] | None = None,
    job: Job | None = None,
    device: str | None = None,
) -> History:
    """Train a net; at the end it holds the last weights, their running mean, or those of the best evaluation.

    Args:
        net: The net; parameters that need no gradient are left alone.
        step: Gives the losses of one batch; sees the step's number and a generator that depends on it and the seed.
        plan: How to train.
        seconds: Stop after so much wall time.
        work: Folder for checkpoints, or None.
        resume: Go on from the checkpoint in `work`, if there is one.
        evaluate: Score of the net as it is (higher is better); with it the best weights are kept.
        job: Told how far it is; cancelled, the loop writes its checkpoint and stops between two steps.
        device: Where the net is moved to; None leaves it where it is.

    Raises:
        BadInputError: A loss is not finite or missing, nothing needs a gradient, or the checkpoint was made by another
            plan.
        CancelledError: The job was cancelled; `work` holds the checkpoint to go on from.
        UsageError: It was launched to split the net over processes (FSDP, DeepSpeed).
    """
    started, job = time.monotonic(), job or Job()
    if device is not None:
        net.to(device)
    optimiser = torch.optim.AdamW(_groups(net, plan), lr=plan.learning_rate)
    peaks = [float(g["lr"]) for g in optimiser.param_groups]
    world = open_world(net, step)
    first = world.rank == 0
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    state = _State(net, optimiser, plan)
    history = History()
    if resume and work is not None:
        history.step = state.read(work)
        if history.step and first:
            job.note(f"going on from step {history.step}")
    net.train()
    # Progress alone: whether to stop is asked of all processes at once, below.
    told = Job(on_progress=job.on_progress if first else None)
    steps = told.progress(range(history.step, plan.steps), plan.steps - history.step, "training")
    while history.step < plan.steps:
        late, cancelled = world.any(seconds is not None and time.monotonic() - started > seconds, job.cancelled)
        if cancelled:
            if work is not None and first:
                state.write(work, history.step)
            world.wait()
            kept = f"run it again with resume to go on from step {history.step}"
            raise CancelledError("training was stopped", fix=kept if work is not None else "")
        if late:
            history.stopped = "time"
            break
        next(steps)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * plan.rate(history.step)
        seen: dict[str, float] = {}
        for part in range(plan.accumulate):
            number = history.step * plan.accumulate + part
            world.seed(plan.seed * 1_000_003 + number + 500_009 * world.rank)
            rng = np.random.default_rng((plan.seed, number, world.rank) if world.rank else (plan.seed, number))
            given = world.losses(number, rng, last=part + 1 == plan.accumulate)
            losses = _weighted(given, plan, history.step)
            (sum(losses.values(), torch.zeros(())) / plan.accumulate).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                seen[name] = seen.get(name, 0.0) + float(value.detach()) / plan.accumulate
        seen = world.mean(seen)
        if not all(map(math.isfinite, seen.values())):
            raise BadInputError("training diverged", item=f"step {history.step}", why=f"losses {seen}")
        if plan.clip is not None:
            nn.utils.clip_grad_norm_(trained, plan.clip)
        optimiser.step()
        optimiser.zero_grad()
        state.average(history.step)
        history.step += 1
        for name, loss in seen.items():
            history.losses.setdefault(name, []).append(loss)
        if evaluate is not None and plan.evaluate_every and history.step % plan.evaluate_every == 0:
            net.eval()
            score = world.first(evaluate())
            net.train()
            history.scores.append((history.step, score))
            state.compare(score)
        if first and (history.step % plan.every == 0 or history.step == plan.steps):
            text = "  ".join(f"{k} {v:.4f}" for k, v in seen.items())
            job.note(f"step {history.step} of {plan.steps}  {time.monotonic() - started:.0f} s  {text}")
            if work is not None:
                state.write(work, history.step)
        if plan.patience and state.since >= plan.patience:
            history.stopped = "patience"
            break
    if history.stopped == "done":
        next(steps, None)  # says so
    world.wait()
    state.finish()
    net.eval()
    history.seconds = time.monotonic() - started
    return history


def _groups(net: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in net.named_parameters():
        if not p.requires_grad:
            continue
        factor = next((f for start, f in plan.rates.items() if name.startswith(start)), 1.0)
        decay = plan.weight_decay if p.ndim > 1 else 0.0
        groups.setdefault((factor * plan.learning_rate, decay), []).append(p)
    if not groups:
        raise BadInputError("nothing to train", item=type(net).__name__, why="no parameter needs a gradient")
    return [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]


def _weighted(losses: Mapping[str, Tensor], plan: Plan, step: int) -> dict[str, Tensor]:
    missing = [name for name, factor in plan.weights.items() if factor and name not in losses]
    if missing:
        raise BadInputError(
            "a weighted loss was not computed", item=f"step {step}: {', '.join(missing)}",
            why=f"the step returned {', '.join(losses) or 'nothing'}",
        )  # fmt: skip
    return {name: plan.weights.get(name, 1.0) * loss for name, loss in losses.items()}


class _State:
    """What a checkpoint holds: weights, their mean, the optimiser's moments, the step."""

    def __init__(self, net: nn.Module, optimiser: torch.optim.Optimizer, plan: Plan) -> None:
        self.net, self.optimiser, self.plan = net, optimiser, plan
        self.mean = self._copy() if plan.average else None
        self.best: dict[str, Tensor] | None = None
        self.score, self.since = -math.inf, 0

    def _copy(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.net.state_dict().items()}

    @torch.no_grad()
    def average(self, step: int) -> None:
        if self.mean is None:
            return
        decay = min(self.plan.average, (step + 1) / (step + 10))  # short runs forget their start
        for kept, now in zip(self.mean.values(), self.net.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(now, 1 - decay)
            else:
                kept.copy_(now)

    def compare(self, score: float) -> None:
        self.since += 1
        if score > self.score:
            self.score, self.since, self.best = score, 0, self._copy()

    def finish(self) -> None:
        chosen = self.best if self.best is not None else self.mean
        if chosen is not None:
            self.net.load_state_dict(chosen)

    def write(self, folder: Path, step: int) -> None:
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in (self.mean or {}).items()}
        for i, entry in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in entry.items()}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        tensors |= {"step": torch.tensor(step), "since": torch.tensor(self.since)}
        tensors["score"] = torch.tensor(self.score, dtype=torch.float64)
        folder.mkdir(parents=True, exist_ok=True)
        # The plan goes first: a checkpoint never stands beside the plan of another run.
        (folder / PLAN).write_text(json.dumps({"plan": self.plan.fingerprint()}) + "\n", "utf-8")
        part = folder / (CHECKPOINT + ".part")
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part)
        part.replace(folder / CHECKPOINT)

    def read(self, folder: Path) -> int:
        if not (folder / CHECKPOINT).is_file():
            return 0
        made_by = json.loads((folder / PLAN).read_text("utf-8")).get("plan") if (folder / PLAN).is_file() else None
        if made_by != self.plan.fingerprint():
            raise BadInputError(
                "checkpoint is of another run", item=str(folder), why="its recipe, seed or number of steps differs",
                fix="give the same options as the run that was stopped, or another --out",
            )  # fmt: skip
        stored = load_file(folder / CHECKPOINT)

        def under(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in stored.items() if k.startswith(prefix)}

        try:
            self.net.load_state_dict(under("net."))
        except RuntimeError as error:
            raise BadInputError("checkpoint does not fit", item=str(folder), why=str(error)[:300]) from error
        if self.mean is not None:
            self.mean = {k: under("mean.")[k].to(v.device) for k, v in self.mean.items()}
        self.best, self.since, self.score = under("best.") or None, int(stored["since"]), float(stored["score"])
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimiser.").items():
            i, name = key.split(".", 1)
            entries.setdefault(int(i), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": entries})
        return int(stored["step"])
