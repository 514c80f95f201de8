"""Cases to vectors for the verbs: decoded in bounded child processes, embedded in batches, bad ones named."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.cli.common import Run
from vesalius.errors import BadInputError, VesaliusError
from vesalius.io.pool.pool import DecodePool, default_workers

if TYPE_CHECKING:
    from vesalius.models.protocols import Embedder


@dataclass(frozen=True)
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


def embedded(
    cases: Iterable[Case], model: Embedder, run: Run, *, workers: int | None, batch_size: int
) -> Iterator[Embedded]:
    """Every usable case, in order; a case with an image that cannot be read is refused as a whole.

    Args:
        cases: Cases, streamed.
        model: The embedder.
        run: Where refusals go.
        workers: Decoding processes; 0 decodes in this one (trusted files only), None one for each processor.
        batch_size: Images in one pass of the model.
    """
    owners: deque[tuple[Case, bool]] = deque()

    def images() -> Iterator[Image]:
        try:
            for case in cases:
                if not case.images:
                    run.refuse(case.id, "the case has no image")
                for n, image in enumerate(case.images):
                    owners.append((case, n == len(case.images) - 1))
                    yield image
        except VesaliusError as error:
            run.refuse(error.item or "the rest of the cases", error)

    parts: list[npt.NDArray[Any]] = []
    failure: VesaliusError | None = None
    batch: list[tuple[Case, list[npt.NDArray[Any]]]] = []
    for result in _decoded(images(), model, workers):
        case, last = owners.popleft()
        if isinstance(result, VesaliusError):
            failure = failure or result
        else:
            parts.append(result)
        if not last:
            continue
        if failure is not None:
            run.refuse(case.id, failure)
        else:
            batch.append((case, parts))
        parts, failure = [], None
        if sum(len(p) for _, p in batch) >= batch_size:
            yield from _embed(batch, model)
            batch = []
    yield from _embed(batch, model)


def _decoded(
    images: Iterator[Image], model: Embedder, workers: int | None
) -> Iterator[npt.NDArray[Any] | VesaliusError]:
    if workers == 0:
        for image in images:
            try:
                yield model.preprocess(image)
            except VesaliusError as error:
                yield error
            except (ValueError, TypeError, OSError, ArithmeticError, LookupError) as error:
                yield BadInputError("cannot read image", item=str(image.uri or "array"), why=str(error))
        return
    with DecodePool(workers or default_workers()) as pool:
        for _, result in pool.map(model.preprocess, images):
            yield result


def _embed(batch: list[tuple[Case, list[npt.NDArray[Any]]]], model: Embedder) -> Iterator[Embedded]:
    from vesalius.models.fitting import mean_by_case

    if not batch:
        return
    owners = [str(n) for n, (_, parts) in enumerate(batch) for _ in parts]
    vectors = model.embed_views([views for _, parts in batch for views in parts])
    pooled = mean_by_case(owners, vectors, [str(n) for n in range(len(batch))])
    for (case, parts), vector in zip(batch, pooled, strict=True):
        yield Embedded(case, vector, parts[0][0])
