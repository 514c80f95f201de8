"""Put the DICOM SEGs that were met among other files onto the cases whose images they segment."""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.cases import Case, Image, Region
from vesalius.errors import BadInputError, VesaliusError
from vesalius.io.dicom.header import Segmentation
from vesalius.io.dicom.pseudonyms import pseudonym
from vesalius.io.dicom.seg_read import read_seg_blob
from vesalius.io.dicom.series import Refuse, without_copies
from vesalius.io.formats.blob import Blob
from vesalius.io.limits import Limits


@dataclass(frozen=True, slots=True)
class SegTask:
    """A SEG to read, and the images of the series that it names."""

    blob: Blob
    images: tuple[Image, ...]

    @property
    def item(self) -> str:
        """What messages call it."""
        return self.blob.name


#: Runs a function over tasks, `(index, result or error)` in their order; a pool's `map`, or the same in this process.
Run = Callable[
    [Callable[[SegTask], list[Region]], Iterable[SegTask]], Iterator[tuple[int, list[Region] | VesaliusError]]
]


def attach(
    cases: Sequence[Case], found: Sequence[Segmentation], run: Run, key: bytes, limits: Limits, refuse: Refuse
) -> list[Case]:
    """The cases, with the regions of their SEGs; a SEG that fits no image is refused by name.

    Args:
        cases: Cases of DICOM series, whose attribute `series` is the pseudonym of the series' UID.
        found: The SEGs.
        run: Where they are decoded.
        key: Key of the pseudonyms.
        limits: Budgets of each file.
        refuse: Called with the name of each SEG that is left out, and why.
    """
    of_series: dict[object, list[int]] = defaultdict(list)
    for n, case in enumerate(cases):
        of_series[case.attributes.get("series")].append(n)
    tasks: list[SegTask] = []
    owners: list[list[tuple[int, int]]] = []
    for seg in without_copies(found, limits, refuse):
        series = pseudonym("series", seg.series, key)
        places = [(n, i) for n in of_series[series] if seg.series for i in range(len(cases[n].images))]
        if places:
            blob = Blob(Path(seg.path), seg.member, seg.item)
            tasks.append(SegTask(blob, tuple(cases[n].images[i] for n, i in places)))
            owners.append(places)
        else:
            why = "the series that it segments is not among these files" if seg.series else "it names no series"
            fix = "read the image beside it, or bring both together with vesalius.io.dicom.seg_read.read_seg"
            refuse(seg.item, BadInputError("DICOM SEG has no image here", item=seg.item, why=why, fix=fix))
    out = list(cases)
    for index, result in run(functools.partial(read_onto_first, limits=limits), tasks):
        if isinstance(result, VesaliusError):
            refuse(tasks[index].item, result)
            continue
        if result:
            n, i = owners[index][result[0].image]
            more = (dataclasses.replace(region, image=i) for region in result)
            out[n] = out[n].replace(regions=(*out[n].regions, *more))
    return out


def read_onto_first(task: SegTask, *, limits: Limits) -> list[Region]:
    """Regions on the first of the images whose grid the SEG fits; their `image` counts among the task's images.

    Raises:
        VesaliusError: It fits none, or is damaged: what was wrong with the first.
    """
    wrong: VesaliusError | None = None
    for n, image in enumerate(task.images):
        try:
            return [dataclasses.replace(r, image=n) for r in read_seg_blob(task.blob, image, limits)]
        except BadInputError as error:
            wrong = wrong or error
    raise wrong or BadInputError("DICOM SEG has no image here", item=task.item)
