"""The one way from cases to what their pixels hold: read in bounded child processes, in order, bad ones named.

Whatever looks at pixels goes through here: a function is run on images whose files a child process reads, so that a
damaged or hostile file costs itself and nothing else. All calls share the children of one pool.

- `decode_images` gives a result or an error for each image.
- `decode_cases` gives whole cases with the results of their images; cases that fail are refused to the job.
- `decoded` gives cases with their stored values in memory.
- `decode_one` gives one image's result and raises what is wrong with it.
- `case_at` opens a path, an array or an image as one case, header and all.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, UsageError, VesaliusError
from vesalius.io.formats.sniff import is_picture
from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pixels import read_pixels
from vesalius.io.pool.messages import as_error
from vesalius.io.pool.shared import shared_pool
from vesalius.job import Job

__all__ = ["Decoded", "case_at", "decode_cases", "decode_images", "decode_one", "decoded", "held"]

R = TypeVar("R")
T = TypeVar("T")
AnyArray = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Decoded(Generic[R]):
    """A case with what a function made of its images.

    Args:
        case: The case as it came.
        results: One for each image that was asked for, in order.
    """

    case: Case
    results: tuple[R, ...]


def held(image: Image) -> Image:
    """The image itself, its stored values in memory: the function that only decodes."""
    return image


def decode_images(
    function: Callable[[Image], R],
    images: Iterable[Image],
    job: Job | None = None,
    *,
    limits: Limits | None = None,
    ahead: int = 0,
) -> Iterator[R | VesaliusError]:
    """`function` of every image, in order; for an image that cannot be read or used, the error.

    The function is given the image with its stored values in memory and its header known, also where the image was
    made by hand from a path. It runs in the child process that reads the file, where it can be sent there (it, or the
    class it is an object of, stands in a module); else only the reading is done there. Images that are in memory
    already have nothing to hide: they are not sent anywhere.

    Args:
        function: What to make of an image: plain data, arrays, or classes of this package.
        images: Streamed; where their source fails, the error is raised after the results of what came before.
        job: Says how many `workers` (0: read in this process, for trusted files only), and may be cancelled.
        limits: Budgets of each process and image.
        ahead: At least so many images are on their way while the caller is busy with a result.

    Raises:
        CancelledError: The job was cancelled.
    """
    job = job or Job()
    source = _Source(images)
    # Runs of images in memory alternate with runs of files; sets that mix them image by image are rare.
    for in_memory, run in itertools.groupby(source, lambda image: image.array is not None):
        if in_memory or job.workers == 0:
            for image in run:
                job.check()
                yield _here(_Read(function, limits), image)
            continue
        pool = shared_pool(job.workers, limits)
        there = _can_travel(function)
        work: Callable[[Image], Any] = _Read(function if there else held, limits)
        for _, result in pool.map(work, run, ahead=ahead):
            job.check()
            yield result if there or isinstance(result, VesaliusError) else _here(function, result)
    if source.error is not None:
        raise source.error


def decode_cases(
    cases: Iterable[Case],
    function: Callable[[Image], R],
    job: Job | None = None,
    *,
    of: Callable[[Case], Sequence[Image]] | None = None,
    need_image: bool = True,
    limits: Limits | None = None,
    ahead: int = 0,
) -> Iterator[Decoded[R]]:
    """Every usable case in order, with what the function made of its images.

    A case with an image that cannot be used is refused as a whole, and so is the rest of the cases where their source
    fails; the others go on. Without a job nobody would be told, so the first fault is raised.

    Args:
        cases: Streamed.
        function: As of `decode_images`.
        job: Told of refusals; see `decode_images`.
        of: Which images of a case; all of them when not given.
        need_image: Refuse a case without any; else it comes through with no result.
        limits: As of `decode_images`.
        ahead: As of `decode_images`.

    Raises:
        VesaliusError: A fault, when there is no job.
        CancelledError: The job was cancelled.
    """
    waiting: deque[tuple[Case, int]] = deque()

    def images() -> Iterator[Image]:
        for case in cases:
            some = list(case.images if of is None else of(case))
            if need_image and not some:
                _refuse(job, case.id, BadInputError("the case has no image"))
                continue
            waiting.append((case, len(some)))
            yield from some

    got: list[R | VesaliusError] = []
    results = decode_images(function, images(), job, limits=limits, ahead=ahead)
    while True:
        try:
            result = next(results, None)
        except VesaliusError as error:
            if job is None or job.cancelled:
                raise
            job.refuse(error.item or "the rest of the cases", error)
            result = None
        while waiting and not waiting[0][1]:
            yield Decoded(waiting.popleft()[0], ())
        if result is None:
            return
        got.append(result)
        if len(got) < waiting[0][1]:
            continue
        case, _ = waiting.popleft()
        fault = next((r for r in got if isinstance(r, VesaliusError)), None)
        if fault is None:
            yield Decoded(case, tuple(r for r in got if not isinstance(r, VesaliusError)))
        else:
            _refuse(job, case.id, fault)
        got = []


def decoded(
    cases: Iterable[Case],
    job: Job | None = None,
    *,
    limits: Limits | None = None,
) -> Iterator[Case]:
    """Cases in order, each image's stored values in memory; images that are there already stay as they are.

    Args:
        cases: Streamed; a case without an image comes through.
        job: As of `decode_cases`.
        limits: As of `decode_images`.

    Raises:
        VesaliusError: A fault, when there is no job.
        CancelledError: The job was cancelled.
    """
    for found in decode_cases(cases, held, job, need_image=False, limits=limits):
        yield found.case.replace(images=found.results)


def decode_one(
    image: Image, function: Callable[[Image], R], job: Job | None = None, *, limits: Limits | None = None
) -> R:
    """One image's result, read like all others; with `held`, the image with its stored values in memory.

    Raises:
        VesaliusError: The image cannot be read or used.
    """
    (result,) = decode_images(function, [image], job, limits=limits)
    if isinstance(result, VesaliusError):
        raise result
    return result


def case_at(
    what: str | os.PathLike[str] | Image | AnyArray, job: Job | None = None, *, limits: Limits | None = None
) -> Case:
    """What somebody points at as one case, as reading its file gives it: header, kind, geometry, every volume.

    Args:
        what: A path, an array `(H, W[, C])` or `(D, H, W)`, or an image.
        job: As of `decode_images`.
        limits: As of `decode_images`.

    Raises:
        UsageError: The path holds more than one case.
        BadInputError: It holds none that can be read.
        MissingError: There is nothing at the path.
    """
    if isinstance(what, np.ndarray):
        flat = what.ndim == 2 or (what.ndim == 3 and what.shape[2] in (1, 3, 4))
        what = Image(array=what, kind="2d" if flat else "3d")
    if isinstance(what, Image):
        return Case("image", images=(what,))
    from vesalius.io.reading import read

    path = Path(what).absolute()
    cases = read(path, dataclasses.replace(job, on_refused=None, refused=[]) if job else None, limits=limits)
    first = list(itertools.islice((c for c in cases if c.images), 2))
    if len(first) == 2:
        raise UsageError("more than one case", item=str(what), fix="give one file, or the folder of one series")
    if not first:
        why = "; ".join(why for _, why in cases.refused[:3])
        raise BadInputError("no image to read", item=str(what), why=why)
    return first[0]


@dataclass(frozen=True)
class _Read:
    """In a child: read the image within limits, then `func` of it; the pool finds a wrapped function by that name."""

    func: Callable[[Image], Any]
    limits: Limits | None = None

    def __call__(self, image: Image) -> Any:
        if image.array is None:
            image = with_header(image, self.limits)
            image = image.with_array(read_pixels(image, self.limits))
        return self.func(image)


def with_header(image: Image, limits: Limits | None = None) -> Image:
    """An image made by hand from a path, with what its file's header says where the maker did not say it.

    Without the header a MONOCHROME1 film would be shown inverted, and a volume would pass for a picture.

    Raises:
        VesaliusError: The file holds no image.
    """
    path = image.path
    if image.array is not None or path is None or image.meta or image.shape is not None or is_picture(path):
        return image
    from vesalius.io.reading import read

    cases = read(path, Job(workers=0), limits=limits or DEFAULT)
    found = next((i for case in cases for i in case.images if image.frame in (None, i.frame)), None)
    if found is None:
        why = "; ".join(why for _, why in cases.refused[:3])
        raise BadInputError("cannot read image", item=str(image.uri), why=why or "there is no such frame")
    unsaid = ("modality", "view", "spacing", "affine", "body_part", "frame")
    fields = {name: getattr(found, name) for name in unsaid if getattr(image, name) in ("", None)}
    kind = found.kind if image.kind == "2d" else image.kind
    return dataclasses.replace(image, kind=kind, shape=found.shape, meta=found.meta, **fields)


def _here(function: Callable[[Image], R], image: Image) -> R | VesaliusError:
    try:
        return function(image)
    except Exception as error:  # as in a child: whatever a decoder raises over one image costs that image alone
        return as_error(error, str(image.uri or "array"), "cannot read image")


def _refuse(job: Job | None, item: str, error: VesaliusError) -> None:
    if job is None:
        raise error
    job.refuse(item, error)


def _can_travel(function: Callable[[Any], Any]) -> bool:
    inner: Any = function
    while hasattr(inner, "func"):
        inner = inner.func
    if getattr(inner, "__module__", "") == "__main__":
        return False
    try:
        pickle.dumps(function, protocol=5)
    except Exception:  # whatever a class raises that cannot be pickled
        return False
    return True


class _Source(Iterator[T]):
    """Items of an iterable; its error waits until what came before it is done with."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self.error: Exception | None = None

    def __next__(self) -> T:
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise StopIteration from None
