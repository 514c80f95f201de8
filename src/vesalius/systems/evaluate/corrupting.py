"""Several picture models through the same corrupted copies, case by case, so that they can be compared in pairs.

`audit.robustness` gives the figures of one classifier; a paired interval needs to know which cases each one got right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vesalius.audit.robustness import corrupted
from vesalius.corruptions import SEVERITIES, registry
from vesalius.systems.frame.nets.picture_classifier import PictureModel, Pictures
from vesalius.systems.frame.recipe import Floats

#: Right or wrong `(n,)` of each (corruption, severity); the key of the clean pictures is ("", 0).
Right = dict[tuple[str, int], npt.NDArray[np.bool_]]


def planes(array: Pictures) -> list[Pictures]:
    """Pictures `(n, 3, s, s)` as what corruptions take: `(s, s, 3)`, or `(s, s)` where they are grey."""
    if (array == array[:, :1]).all():
        return list(array[:, 0])
    return list(np.ascontiguousarray(array.transpose(0, 2, 3, 1)))


def channels(flat: Sequence[Pictures]) -> Pictures:
    """The way back from `planes`."""
    stack = np.stack(flat)
    return np.repeat(stack[:, None], 3, axis=1) if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)


def through(
    models: Mapping[str, PictureModel],
    array: Pictures,
    y: npt.NDArray[np.int64],
    suite: str,
    seed: int,
    severities: Sequence[int] = SEVERITIES,
) -> dict[str, Right]:
    """Put models of one list of classes through the same corrupted copies, each copy made once."""
    out: dict[str, Right] = {k: {("", 0): m.predict_pictures(array).argmax(1) == y} for k, m in models.items()}
    for name, severity, worse in corrupted(
        planes(array), registry(suite), dataset=suite, severities=severities, seed=seed
    ):
        copies = np.ascontiguousarray(channels(worse))
        for k, m in models.items():
            out[k][name, severity] = m.predict_pictures(copies).argmax(1) == y
    return out


def balanced(right: Right, y: npt.NDArray[np.int64], severities: Sequence[int] = SEVERITIES) -> Floats:
    """`(n,)` share of corrupted copies called wrongly, weighted so that the mean is the balanced error."""
    wrong = 1 - np.mean([r for (_, s), r in right.items() if s in severities], 0)
    return np.asarray(wrong * class_weight(y))


def class_weight(y: npt.NDArray[np.int64]) -> Floats:
    """`(n,)` weight of each case under which a mean over cases is a mean over classes."""
    counts = np.bincount(y)
    return np.asarray(len(y) / (np.count_nonzero(counts) * counts[y]))
