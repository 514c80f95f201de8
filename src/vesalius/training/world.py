"""Training in one process, or in several that hold the same net and see other batches (DDP, through accelerate).

A launcher (`accelerate launch`, `torchrun`) starts the processes and says so in `WORLD_SIZE`. The loop asks a world for
what has to be the same everywhere: gradients, the losses it reports, and whether it goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vesalius.errors import UsageError

Step = Callable[[int, np.random.Generator], Mapping[str, Tensor]]


class World:
    """One process: everything is as it is here.

    Args:
        step: Gives the losses of one batch; its nets lie where the caller put them.
        device: Where the trained parameters are.
    """

    rank, size = 0, 1

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step, self._device = step, device

    def losses(self, number: int, rng: np.random.Generator, *, last: bool) -> Mapping[str, Tensor]:  # noqa: ARG002
        """The losses of a batch; `last` of those whose gradients are added up."""
        return self._step(number, rng)

    def seed(self, seed: int) -> None:
        """Seed torch's own generators."""
        if self._device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` looks for every kind of accelerator
        else:
            torch.manual_seed(seed)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values averaged over the processes."""
        return dict(values)

    def any(self, *flags: bool) -> Sequence[bool]:
        """Whether each is true in some process."""
        return flags

    def first(self, value: float) -> float:
        """The first process's value."""
        return value

    def wait(self) -> None:
        """Until every process is here."""


class _Losses(nn.Module):
    """The step as a module around the net, so that DDP sees every pass, whatever parts of the net the step calls."""

    def __init__(self, net: nn.Module, step: Step) -> None:
        super().__init__()
        self.net, self.step = net, step

    def forward(self, number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        return dict(self.step(number, rng))


class Several(World):
    """This process among several: gradients are averaged, each draws its own batches, the first one speaks and writes.

    Raises:
        UsageError: The launcher asked for a split net (FSDP, DeepSpeed): the loop's steps call parts of a whole one.
    """

    def __init__(self, net: nn.Module, step: Step, device: torch.device) -> None:
        super().__init__(step, device)
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.utils import DistributedType

        # A step may leave parts of the net out (a head in one phase, a tower in the next).
        parts = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no", kwargs_handlers=[parts])
        kind = self._accelerator.distributed_type
        if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
            raise UsageError(
                "the net cannot be split over processes here", item=kind.value.lower(),
                why="a recipe's step calls parts of the whole net", fix="launch it with plain data parallel processes",
            )  # fmt: skip
        self.rank, self.size = self._accelerator.process_index, self._accelerator.num_processes
        self._wrapped: Any = self._accelerator.prepare_model(_Losses(net, step), device_placement=False)

    def losses(self, number: int, rng: np.random.Generator, *, last: bool) -> Mapping[str, Tensor]:
        """The losses of this process's batch; gradients travel with the last one alone."""
        quiet = contextlib.nullcontext() if last else self._accelerator.no_sync(self._wrapped)
        with quiet:
            found: Mapping[str, Tensor] = self._wrapped(number, rng)
        return found

    def _reduce(self, values: Sequence[float], how: str) -> list[float]:
        found = torch.tensor(values, dtype=torch.float64, device=self._accelerator.device)
        return [float(v) for v in self._accelerator.reduce(found, how)]

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values averaged over the processes."""
        return dict(zip(values, self._reduce(list(values.values()), "mean"), strict=True))

    def any(self, *flags: bool) -> Sequence[bool]:
        """Whether each is true in some process."""
        return [n > 0 for n in self._reduce([float(f) for f in flags], "sum")]

    def first(self, value: float) -> float:
        """The first process's value."""
        return self._reduce([value if self.rank == 0 else 0.0], "sum")[0]

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()


def open_world(net: nn.Module, step: Step) -> World:
    """The world that a launcher has made, or this process alone.

    The net's parameters must already lie where they are trained.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    # The launcher's own word for it: asking accelerate would cost its import where there is nothing to share.
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Several(net, step, device)
    return World(step, device)
