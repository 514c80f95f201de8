"""What a person would click: first well inside, or a box that is a little off, then where the mask is wrong.

Places are `(x, y)` in [0, 1] of the picture; arrays are indexed `[row, column]`, so x comes from the second index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vesalius.nn.promptable import BOTTOM_RIGHT, INSIDE, OUTSIDE, TOP_LEFT

Bools = npt.NDArray[np.bool_]
Click = tuple[float, float, int]


def _at(index: npt.NDArray[np.int64], shape: tuple[int, ...], kind: int) -> Click:
    return (float(index[1]) + 0.5) / shape[1], (float(index[0]) + 0.5) / shape[0], kind


def first_click(target: Bools, rng: np.random.Generator) -> Click:
    """One of the half of the target's pixels that lie nearest its centroid, as IMIS-Bench draws it.

    Args:
        target: `(h, w)`, not empty.
        rng: Random numbers.
    """
    inside = np.argwhere(target)
    distance = ((inside - inside.mean(0)) ** 2).sum(1)
    near = inside[np.argsort(distance, kind="stable")[: max(1, len(inside) // 2)]]
    return _at(near[rng.integers(len(near))], target.shape, INSIDE)


def inside_clicks(target: Bools, n: int, rng: np.random.Generator) -> list[Click]:
    """Any pixels of the target: what a user would click who never looks at the mask."""
    inside = np.argwhere(target)
    return [_at(inside[i], target.shape, INSIDE) for i in rng.integers(len(inside), size=n)] if len(inside) else []


def error_clicks(shown: Bools, target: Bools, n: int, rng: np.random.Generator) -> list[Click]:
    """Clicks where the shown mask and the target differ: inside where it misses, outside where it spills.

    Args:
        shown: `(h, w)` mask so far.
        target: `(h, w)` truth.
        n: How many; fewer only where nothing is wrong, then none.
        rng: Random numbers.
    """
    wrong = np.argwhere(shown ^ target)
    if not len(wrong):
        return []
    chosen = wrong[rng.integers(len(wrong), size=n)]
    return [_at(i, target.shape, INSIDE if target[i[0], i[1]] else OUTSIDE) for i in chosen]


def box_corners(target: Bools, rng: np.random.Generator | None = None, jitter: float = 0.02) -> list[Click]:
    """The corners of the target's box, each side off by up to `jitter` of the picture (5 px of 256 in IMIS-Bench).

    Args:
        target: `(h, w)`, not empty.
        rng: Random numbers; None gives the exact box.
        jitter: Largest error of a side.
    """
    h, w = target.shape
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    box = np.asarray([columns[0] / w, rows[0] / h, (columns[-1] + 1) / w, (rows[-1] + 1) / h])
    if rng is not None:
        box = np.clip(box + rng.uniform(-jitter, jitter, 4), 0, 1)
        box = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
    return [(float(box[0]), float(box[1]), TOP_LEFT), (float(box[2]), float(box[3]), BOTTOM_RIGHT)]
