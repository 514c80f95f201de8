"""One of two processes that train together; writes what it saw and holds at the end. Run by test_loop.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from tests.training.test_loop import TOGETHER, net, step_of, weights
from vesalius.errors import CancelledError
from vesalius.job import Job
from vesalius.training.loop import train_loop


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    out = {"said": []}
    job = Job(on_note=out["said"].append)
    model = net()
    history = train_loop(model, step_of(model), TOGETHER, work=folder / "work", job=job)
    out |= {"losses": history.losses["mse"], "weights": weights(model).tolist()}
    # The second process alone is told to stop: both do, after the same step.
    stopped = net()
    good, job = step_of(stopped), Job()

    def step(number, rng):
        if number == 3 and rank == 1:
            job.cancel()
        return good(number, rng)

    try:
        train_loop(stopped, step, TOGETHER, work=folder / "stopped", job=job)
    except CancelledError as error:
        out["stopped"] = str(error)
    (folder / f"{rank}.json").write_text(json.dumps(out))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
