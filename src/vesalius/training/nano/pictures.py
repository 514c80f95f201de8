"""What nano sees while it is trained: every picture decoded once, in files that a stopped run finds again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.errors import MissingError, VesaliusError
from vesalius.job import Job
from vesalius.models.preprocess import ViewPreprocess
from vesalius.sources.open_sets.readers import read_layout

U8 = npt.NDArray[np.uint8]


def collect(folder: Path, names: Sequence[str]) -> list[Case]:
    """The cases of the named open sets below a folder.

    Raises:
        MissingError: A set is not there.
    """
    cases: list[Case] = []
    for name in names:
        if not (folder / name).is_dir():
            raise MissingError(
                "training set is not there", item=str(folder / name), fix="give --data the folder above it"
            )
        cases += [case for case in read_layout(name, folder / name) if case.images]
    return cases


@dataclass(frozen=True, eq=False)
class Views:
    """Views of cases, one after the other.

    Args:
        pixels: `(views, 3, side, side)`, in a file.
        first: `(cases + 1,)` where each case's views begin.
    """

    pixels: U8
    first: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first) - 1

    def of(self, case: int) -> U8:
        """`(S, 3, side, side)` of one case."""
        return self.pixels[self.first[case] : self.first[case + 1]]

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """`(views,)` the case of each view."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))


def decode(
    cases: Sequence[Case], sides: Sequence[int], folder: Path, job: Job, *, slices: int = 8
) -> tuple[Views, ...]:
    """Views of each case's first image at several sizes, read from `folder` where they were made before.

    Args:
        cases: The cases, in the order of the result.
        sides: Heights and widths; one `Views` comes back for each.
        folder: Where the views are kept.
        job: Told how far it is, and of pictures that cannot be read (they are black then).
        slices: Largest number of slices of a volume or frames of a video.
    """
    ids = hashlib.sha256(json.dumps([slices, [c.id for c in cases]]).encode()).hexdigest()[:16]
    files = [folder / f"views-{side}-{ids}.npy" for side in sides]
    starts = folder / f"views-{ids}.npy"
    if not (starts.is_file() and all(f.is_file() for f in files)):
        folder.mkdir(parents=True, exist_ok=True)
        most = sum(1 if case.images[0].kind == "2d" else slices for case in cases)
        rooms = [
            np.lib.format.open_memmap(file, "w+", np.uint8, (most, 3, side, side))
            for file, side in zip(files, sides, strict=True)
        ]
        first = [0]
        for case in job.progress(cases, len(cases), "decoding"):
            image = _held(case, job)
            for room, side in zip(rooms, sides, strict=True):
                views = ViewPreprocess(side, side, slices=slices)(image)
                room[first[-1] : first[-1] + len(views)] = views
            first.append(first[-1] + len(views))
        for room in rooms:
            room.flush()
        np.save(starts, np.asarray(first))  # last: its presence says that the others are whole
    begin = np.load(starts)
    return tuple(Views(np.load(file, mmap_mode="r"), begin) for file in files)


def _held(case: Case, job: Job) -> Image:
    """The case's first image with its values in memory, so that it is read once for all sizes."""
    image = case.images[0]
    try:
        return replace(image, array=image.pixels())
    except VesaliusError as error:
        job.refuse(case.id, error)
        return replace(image, array=np.zeros((8, 8), np.uint8), kind="2d")
