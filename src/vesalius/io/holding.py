"""Cases with their stored values at hand, read once and in bounded child processes, for what looks at them often."""

from __future__ import annotations

import functools
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.errors import ResourceError, VesaliusError
from vesalius.io.limits import Limits
from vesalius.io.pixels import read_pixels
from vesalius.io.pool.pool import DecodePool

__all__ = ["decoded", "hold"]

AnyArray = npt.NDArray[Any]
Refused = Callable[[str, VesaliusError], None]
#: Arrays start at multiples of this in the held file, whatever their type.
_ALIGN = 64


def decoded(
    cases: Iterable[Case],
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    on_refused: Refused | None = None,
) -> Iterator[Case]:
    """Cases in order, each image's stored values in memory; images that are in memory already stay as they are.

    Args:
        cases: Cases, streamed.
        workers: Decoding processes; None for one each processor.
        limits: Budgets of each process and image.
        on_refused: Told (case id, why) of a case with an image that cannot be read; the case is then left out, as is
            the rest of the cases where they cannot be read on. Without it the error is raised.
    """
    waiting: deque[Case] = deque()

    def images() -> Iterator[Image]:
        try:
            for case in cases:
                waiting.append(case)
                yield from _unread(case)
        except VesaliusError as error:
            if on_refused is None:
                raise
            on_refused(error.item or "the rest of the cases", error)

    parts: list[AnyArray | VesaliusError] = []
    with DecodePool(workers, limits) as pool:
        for _, result in pool.map(functools.partial(read_pixels, limits=limits), images()):
            while not _unread(waiting[0]):
                yield waiting.popleft()
            parts.append(result)
            if len(parts) < len(_unread(waiting[0])):
                continue
            case, found = waiting.popleft(), parts
            parts = []
            failure = next((p for p in found if isinstance(p, VesaliusError)), None)
            if failure is None:
                yield _with(case, [p for p in found if not isinstance(p, VesaliusError)])
            elif on_refused is None:
                raise failure
            else:
                on_refused(case.id, failure)
    yield from waiting  # what is left has nothing to read


def hold(cases: Iterable[Case]) -> list[Case]:
    """Keep the stored values of cases in one temporary file, mapped into memory: read-only, any number, no path left.

    The file has no name by the time this returns; it goes when the last array does.

    Raises:
        ResourceError: The temporary folder is full.
    """
    kept: list[tuple[Case, list[_Place]]] = []
    try:
        with tempfile.TemporaryFile(prefix="vesalius-") as file:
            for case in cases:
                places = []
                for image in case.images:
                    array = np.ascontiguousarray(image.pixels())
                    file.write(b"\0" * (-file.tell() % _ALIGN))
                    places.append(_Place(file.tell(), array.dtype, array.shape))
                    file.write(array.reshape(-1).view(np.uint8).data)
                # Values that came in memory are let go here: a record with stand-ins of no size is kept.
                kept.append((_with(case, [p.stand_in() for p in places], every=True), places))
            if not file.tell():
                return [case for case, _ in kept]
            file.flush()
            whole = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        raise ResourceError(
            "cannot hold the images", item=tempfile.gettempdir(), why=str(error), fix="set TMPDIR to a larger disk"
        ) from error
    return [_with(case, [p.of(whole) for p in places], every=True) for case, places in kept]


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the file."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def stand_in(self) -> AnyArray:
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)

    def of(self, whole: npt.NDArray[np.uint8]) -> AnyArray:
        count = int(np.prod(self.shape)) * self.dtype.itemsize
        return whole[self.start : self.start + count].view(self.dtype).reshape(self.shape)


def _unread(case: Case) -> list[Image]:
    return [image for image in case.images if image.array is None]


def _with(case: Case, arrays: list[AnyArray], *, every: bool = False) -> Case:
    """The case with arrays in its unread images (or in every one), in order."""
    left = iter(arrays)
    return case.replace(images=tuple(i.with_array(next(left)) if every or i.array is None else i for i in case.images))
