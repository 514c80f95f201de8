"""Cases with their stored values in one file without a name, for what looks at them often."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.errors import ResourceError

__all__ = ["hold"]

AnyArray = npt.NDArray[Any]
#: Arrays start at multiples of this in the held file, whatever their type.
_ALIGN = 64


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
                kept.append((_with(case, [p.stand_in() for p in places]), places))
            if not file.tell():
                return [case for case, _ in kept]
            file.flush()
            whole = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
    except OSError as error:
        raise ResourceError(
            "cannot hold the images", item=tempfile.gettempdir(), why=str(error), fix="set TMPDIR to a larger disk"
        ) from error
    return [_with(case, [p.of(whole) for p in places]) for case, places in kept]


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


def _with(case: Case, arrays: list[AnyArray]) -> Case:
    """The case with arrays in its images, in order."""
    return case.replace(images=tuple(i.with_array(a) for i, a in zip(case.images, arrays, strict=True)))
