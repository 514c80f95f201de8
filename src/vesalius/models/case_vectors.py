"""Cases to vectors: decoded in bounded child processes, embedded in batches, bad ones refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.io.decode import Decoded, decode_cases
from vesalius.job import Job
from vesalius.models.fitting import mean_by_case
from vesalius.models.protocols import Embedder


@dataclass(frozen=True, eq=False)
class Embedded:
    """One case with its vector.

    Args:
        case: The case.
        vector: `(dim,)` unit vector: the mean of its images' vectors, scaled to length 1.
        view: `(3, H, W)` the first image's first view, for a contact sheet.
    """

    case: Case
    vector: npt.NDArray[np.float32]
    view: npt.NDArray[Any]


def embed_cases(cases: Iterable[Case], model: Embedder, job: Job) -> Iterator[Embedded]:
    """Every usable case, in order; one with an image that cannot be read is refused as a whole.

    Args:
        cases: Cases, streamed.
        model: The embedder.
        job: Its workers decode, its batch size is that of the model; refusals go there.

    Raises:
        CancelledError: The job was cancelled.
    """
    batch: list[Decoded[npt.NDArray[Any]]] = []
    for found in decode_cases(cases, model.preprocess, job, ahead=2 * job.batch_size):
        batch.append(found)
        if sum(len(d.results) for d in batch) >= job.batch_size:
            yield from _embed(batch, model)
            batch = []
    yield from _embed(batch, model)


def _embed(batch: list[Decoded[npt.NDArray[Any]]], model: Embedder) -> Iterator[Embedded]:
    if not batch:
        return
    owners = [str(n) for n, found in enumerate(batch) for _ in found.results]
    vectors = model.embed_views([views for found in batch for views in found.results])
    pooled = mean_by_case(owners, vectors, [str(n) for n in range(len(batch))])
    for found, vector in zip(batch, pooled, strict=True):
        yield Embedded(found.case, vector, found.results[0][0])
