"""Pooled tower features of every view, computed once for each candidate: everything on top of them costs seconds.

Candidates share their frozen first blocks, whose maps are the larger half of the work: they are kept in a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vesalius.job import Job
from vesalius.nn.efficientnet import FEATURES, MEAN, SCALE, EfficientNetLite0
from vesalius.training.nano.pictures import Views

Floats = npt.NDArray[np.float32]
BATCH = 16


def lower_maps(tower: EfficientNetLite0, views: Views, frozen: int, path: Path, job: Job) -> npt.NDArray[np.float16]:
    """`(views, h, w, channels)` maps after the stem and `frozen` blocks, kept in a file; half precision."""
    done = path.with_suffix(".done")
    tower = _ready(tower)

    def maps_of(start: int) -> npt.NDArray[np.float16]:
        with torch.inference_mode():
            x = (torch.from_numpy(np.array(views.pixels[start : start + BATCH])).float() - MEAN) / SCALE
            x = tower.stem(x.contiguous(memory_format=torch.channels_last))
            for block in tower.blocks[:frozen]:
                x = block(x)
            return np.asarray(x.permute(0, 2, 3, 1).half().numpy())

    if not done.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = maps_of(0).shape[1:]
        room = np.lib.format.open_memmap(path, "w+", np.float16, (len(views.pixels), *shape))
        for start, maps in _in_threads(maps_of, len(views.pixels), job, "lower maps"):
            room[start : start + len(maps)] = maps
        room.flush()
        done.touch()
    kept: npt.NDArray[np.float16] = np.load(path, mmap_mode="r")
    return kept


def upper_features(
    tower: EfficientNetLite0, lower: npt.NDArray[np.float16], frozen: int, rows: npt.NDArray[np.int64], job: Job
) -> Floats:
    """`(rows, 1280)` pooled features from lower maps."""
    out = np.zeros((len(rows), FEATURES), np.float32)
    tower = _ready(tower)

    def features_of(start: int) -> Floats:
        with torch.inference_mode():
            x = torch.from_numpy(lower[rows[start : start + BATCH]].astype(np.float32)).permute(0, 3, 1, 2)
            for block in tower.blocks[frozen:]:
                x = block(x)
            return np.asarray(tower.head(x).mean((2, 3)).numpy())

    for start, found in _in_threads(features_of, len(rows), job, "features"):
        out[start : start + len(found)] = found
    return out


def _ready(tower: EfficientNetLite0) -> EfficientNetLite0:
    return tower.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return] # torch's stub lacks it alone


def _in_threads(
    work: Callable[[int], npt.NDArray[Any]], rows: int, job: Job, what: str
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Batches side by side, each on one thread.

    Where others use the machine too, threads that wait for each other inside every layer are several times slower.
    """
    before, starts = torch.get_num_threads(), range(0, rows, BATCH)
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(before) as pool:
            waiting: deque[tuple[int, Future[npt.NDArray[Any]]]] = deque()
            for start in job.progress(starts, len(starts), what):
                waiting.append((start, pool.submit(work, start)))
                if len(waiting) > 2 * before:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
    finally:
        torch.set_num_threads(before)
