"""Pictures of one set that look so alike that they may show one patient, for sets that give no patient numbers.

Neighbouring slices of one head and frames of one colonoscopy differ little: two pictures whose 64 x 64 grey thumbnails
correlate above `ALIKE` are held together, and so is what hangs on them. This finds neighbours, not patients: slices far
apart in one head, or turned copies, are not found, and figures on such sets remain a little too good.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image

#: Correlation above which two thumbnails count as alike. Higher finds next to nothing in sets whose closest copies were
#: taken out before; lower chains unlike pictures together (at 0.85, 68 of 400 colonoscopies become one group).
ALIKE = 0.90
_SIDE = 64
#: Sets whose pictures carry no group that could be trusted; the last one's groups are runs of like slices already.
SETS = ("fracatlas", "brain-mr", "chest-ct", "mednist", "kvasir-seg", "pbc-blood", "iq-oth-lung-ct")


def thumbnail(image: Image) -> npt.NDArray[np.float32]:
    """`(4096,)` grey thumbnail of a picture, mean 0 and length 1 (all 0 for an even one)."""
    from PIL import Image as Picture

    array = np.asarray(image.pixels())
    grey = Picture.fromarray(array).convert("L").resize((_SIDE, _SIDE), Picture.Resampling.BOX)
    flat = np.asarray(grey, np.float32).ravel()
    flat -= flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1e-6), np.float32)


def groups(cases: Sequence[Case], alike: float = ALIKE) -> list[int]:
    """A number for each case: those with one number look alike, or share a patient, or are linked through others.

    Args:
        cases: Cases with one 2-d picture each.
        alike: Correlation above which two thumbnails are linked.

    Returns:
        Numbers from 0, in the order in which groups first appear.
    """
    from scipy.sparse.csgraph import connected_components

    if not cases:
        return []
    views = np.stack([thumbnail(c.images[0]) for c in cases])
    linked = views @ views.T > alike
    patients = [c.group for c in cases]
    first = {p: i for i, p in reversed(list(enumerate(patients)))}
    for i, p in enumerate(patients):
        linked[i, first[p]] = True
    _, found = connected_components(linked, directed=False)
    order: dict[int, int] = {}
    return [order.setdefault(int(n), len(order)) for n in found]


def table(cases: Mapping[str, Sequence[Case]]) -> dict[str, dict[str, object]]:
    """What `data/near_copies.json` holds: of each set the number of cases and the groups of two or more, by name."""
    out: dict[str, dict[str, object]] = {}
    for name, own in cases.items():
        members: dict[int, list[str]] = {}
        for case, n in zip(own, groups(own), strict=True):
            members.setdefault(n, []).append(case.id.partition("/")[2])
        out[name] = {"cases": len(own), "groups": [m for m in members.values() if len(m) > 1]}
    return out


@functools.cache
def stored(name: str) -> tuple[int, Mapping[str, int]]:
    """Number of cases of a set when its near-copies were looked for, and case name to group, for groups of two or more.

    A set that was not looked through has no group.
    """
    text = resources.files(__package__).joinpath("data", "near_copies.json").read_text("utf-8")
    entry = json.loads(text).get(name, {"cases": 0, "groups": []})
    return int(entry["cases"]), {case: n for n, own in enumerate(entry["groups"]) for case in own}
