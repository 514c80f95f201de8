"""How much a system may train: the half of a training that is about effort. The other half is `vesalius.job.Job`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vesalius.job import Job
from vesalius.models import pick_device
from vesalius.systems.frame.model import SystemModel
from vesalius.training.loop import History, Plan, train_loop


@dataclass(frozen=True)
class Budget:
    """How much to train, and where a training that is stopped is kept.

    Args:
        steps: Optimiser steps; 0 takes the recipe's own number.
        seconds: Stop after so much wall time, whatever the step; None never.
        work: Folder for checkpoints; None keeps none.
        resume: Go on from the checkpoint in `work`.
    """

    steps: int = 0
    seconds: float | None = None
    work: Path | None = None
    resume: bool = False

    def of(self, steps: int) -> Budget:
        """This budget, with a recipe's own number of steps where it names none."""
        return self if self.steps else replace(self, steps=steps)


def placed(job: Job | None) -> Job:
    """A job whose device is the one it gets (`auto` is looked up); a new one where none is given."""
    made = Job() if job is None else job
    if made.device == "auto":
        made.device = pick_device("auto")
    return made


def run_training(
    model: SystemModel,
    step: Callable[[int, np.random.Generator], Mapping[str, Tensor]],
    budget: Budget,
    job: Job,
    **plan: Any,
) -> History:
    """Train a model's net by the loop that all recipes share.

    Args:
        model: Its `net` is trained in place and left in evaluation mode.
        step: Gives the losses of one batch (see `training.loop`).
        budget: How long, and where checkpoints go.
        job: The seed, and who is told; a cancelled job writes its checkpoint and stops between two steps.
        plan: More fields of `training.loop.Plan`.
    """
    made = Plan(steps=budget.steps, seed=job.seed, **plan)
    return train_loop(
        model.net, step, made, seconds=budget.seconds, work=budget.work, resume=budget.resume, job=job,
        device=model.device,
    )  # fmt: skip
