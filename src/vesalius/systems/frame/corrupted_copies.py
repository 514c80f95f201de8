"""Picture models through the same corrupted copies, case by case, so that they can be compared in pairs.

`audit.robustness` gives the figures of one classifier; a paired interval needs to know which cases each one got right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from vesalius.audit.robustness import corrupted
from vesalius.corruptions import registry
from vesalius.systems.frame.inputs import class_of, pictures
from vesalius.systems.frame.nets.picture_classifier import PictureModel, Pictures
from vesalius.systems.frame.worlds.world import Parts

#: Right or wrong `(n,)` of each (corruption, severity); the key of the clean pictures is ("", 0).
Right = Mapping[tuple[str, int], npt.NDArray[np.bool_]]


def planes(array: Pictures) -> list[Pictures]:
    """Pictures `(n, 3, s, s)` as what corruptions take: `(s, s, 3)`, or `(s, s)` where they are grey."""
    if (array == array[:, :1]).all():
        return list(array[:, 0])
    return list(np.ascontiguousarray(array.transpose(0, 2, 3, 1)))


def channels(flat: Sequence[Pictures]) -> Pictures:
    """The way back from `planes`."""
    stack = np.stack(flat)
    return np.repeat(stack[:, None], 3, axis=1) if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)


def copies(parts: Parts, side: int, suite: str, severities: Sequence[int]) -> dict[tuple[str, int], Pictures]:
    """The test pictures as they are, and each corrupted copy; made once for all that is compared.

    Args:
        parts: The cases.
        side: Side of the pictures.
        suite: List of corruptions; "" for none.
        severities: Their severities.
    """
    clean: Pictures = parts.once(("clean", side), lambda: pictures((c.images[0] for c in parts.test), side))

    def make() -> dict[tuple[str, int], Pictures]:
        made = corrupted(planes(clean), registry(suite), dataset=suite, severities=severities, seed=parts.seed)
        return {(name, severity): np.ascontiguousarray(channels(worse)) for name, severity, worse in made}

    worse = parts.once((suite, side, tuple(severities)), make) if suite else {}
    return {("", 0): clean, **worse}


def truth_of(parts: Parts, model: PictureModel) -> npt.NDArray[np.int64]:
    """`(n,)` class number of each test case; -1 where the model was not taught its class."""
    number = {name: k for k, name in enumerate(model.classes)}
    return np.asarray([number.get(class_of(c), -1) for c in parts.test])


def right_on(model: PictureModel, parts: Parts, side: int, suite: str, severities: Sequence[int]) -> Right:
    """Which test cases a model gets right on each copy; arguments as for `copies`."""
    y = truth_of(parts, model)
    found: dict[tuple[str, int], npt.NDArray[np.bool_]] = parts.once(
        ("right", model.fingerprint, suite, tuple(severities)),
        lambda: {
            k: model.predict_pictures(x).argmax(1) == y for k, x in copies(parts, side, suite, severities).items()
        },
    )
    return found


def class_weight(y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """`(n,)` weight of each case under which a mean over cases is a mean over classes."""
    counts = np.unique(y, return_counts=True, return_inverse=True)
    return np.asarray(len(y) / (len(counts[2]) * counts[2][counts[1]]))
