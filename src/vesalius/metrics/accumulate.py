"""A thin accumulating twin of any metric of the registry: update with batches, merge across workers, compute once.

It keeps the inputs, because exact ranks, curves and corpus counts need them all; they are kept as given, without
copies on the way, and joined only by `compute`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.registry import Metric, get

__all__ = ["Accumulator"]


class Accumulator:
    """State of one metric.

    Args:
        metric: Name in the registry, a `Metric`, or any function of equally long inputs.
        options: Keyword arguments of the function, the same for every batch.

    Examples:
        >>> total = Accumulator("auroc")
        >>> total.update([0, 1], [0.2, 0.7])
        >>> total.update([0, 1], [0.4, 0.3])
        >>> total.compute()
        0.75
    """

    def __init__(self, metric: str | Metric | Callable[..., Any], **options: Any) -> None:
        self.function: Callable[..., Any] = get(metric) if isinstance(metric, str) else metric
        self.options = options
        self._batches: list[tuple[Any, ...]] = []

    def update(self, *batch: Any) -> None:
        """Add a batch: the positional inputs of the function, one sequence each and all of one length.

        Raises:
            UsageError: Another number of inputs than before.
            BadInputError: Inputs of unequal length.
        """
        if self._batches and len(batch) != len(self._batches[0]):
            raise UsageError("cannot update", why=f"{len(batch)} inputs, {len(self._batches[0])} before")
        if not batch or len({len(part) for part in batch}) != 1:
            raise BadInputError("inputs differ in length", why=f"lengths {[len(part) for part in batch]}")
        self._batches.append(batch)

    def merge(self, other: Accumulator) -> None:
        """Take over what another accumulator of the same metric and options has seen.

        Raises:
            UsageError: It is of another metric or has other options.
        """
        if self.function != other.function or self.options != other.options:
            raise UsageError("cannot merge", why="the accumulators are of different metrics or options")
        for batch in other._batches:
            self.update(*batch)

    def compute(self) -> Any:
        """The metric over all batches.

        Raises:
            BadInputError: Nothing was added, or what the metric raises.
        """
        if not self._batches:
            raise BadInputError("nothing to measure", why="no batch was added")
        columns = zip(*self._batches, strict=True)
        return self.function(*(_join(parts) for parts in columns), **self.options)

    def reset(self) -> None:
        """Forget all batches."""
        self._batches.clear()

    def __len__(self) -> int:
        return sum(len(batch[0]) for batch in self._batches)


def _join(parts: tuple[Any, ...]) -> Any:
    """One array of arrays, one list of anything else."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return [item for part in parts for item in part]
