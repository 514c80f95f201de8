"""Slices of drawn volumes in the three planes, as cases of their own: pictures for words like `coronal` and `PET`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vesalius.cases import Case, Image, Mask, Region
from vesalius.cases.image import AnyArray
from vesalius.errors import UsageError

#: Plane to the array axis it is cut across; drawn volumes are `(slices, rows, columns)`, rows from front to back.
PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}
#: Share of each axis at whose ends nothing is cut: the outermost slices show air.
_EDGE = 0.25


def slices(case: Case, planes: Sequence[str] = tuple(PLANES), each: int = 1, seed: int = 0) -> Iterator[Case]:
    """Cut a case's volumes into pictures; what is no volume gives none.

    Coronal and sagittal pictures have the head end up. Masks are cut along, regions that a slice misses are left out,
    and a finding stays labelled present only where the slice shows its mask; where a volume marks a finding by no mask,
    what a slice shows of it is not known.

    Args:
        case: A case with drawn volumes (`ct`, `pet`, `body_mr`, `brain_mr`).
        planes: `axial`, `coronal`, `sagittal`.
        each: Slices of each volume and plane, at places drawn by the seed.
        seed: The same case and seed give the same slices.

    Yields:
        Cases with one picture each; `meta["plane"]` names the plane, and they share the case's patient.

    Raises:
        UsageError: A plane that is not one of the three.
    """
    if strange := [p for p in planes if p not in PLANES]:
        raise UsageError("no such plane", item=strange[0], fix=f"use some of {', '.join(PLANES)}")
    for number, image in enumerate(case.images):
        if image.kind != "3d":
            continue
        volume = image.pixels()
        upside_down = image.affine is None or image.affine.matrix[2, 0] > 0
        for plane in planes:
            axis = PLANES[plane]
            rng = np.random.default_rng([seed, number, axis, *case.id.encode()])
            length = volume.shape[axis]
            low, high = int(_EDGE * length), max(int((1 - _EDGE) * length), int(_EDGE * length) + 1)
            for at in sorted(rng.choice(np.arange(low, high), min(each, high - low), replace=False).tolist()):
                flip = axis != 0 and upside_down
                yield _slice(case, image, number, plane, int(at), flip=flip)


def _slice(case: Case, image: Image, number: int, plane: str, at: int, *, flip: bool) -> Case:
    axis = PLANES[plane]

    def cut(volume: AnyArray) -> AnyArray:
        flat = np.take(volume, at, axis=axis)
        return np.ascontiguousarray(flat[::-1] if flip else flat)

    spacing = None
    if image.spacing is not None:
        spacing = tuple(s for i, s in enumerate(image.spacing) if i != axis)
    picture = replace(
        image, uri=None, array=cut(image.pixels()), kind="2d", view="", shape=None, affine=None, spacing=spacing,
        meta={**image.meta, "plane": plane},
    )  # fmt: skip
    regions: list[Region] = []
    marked: set[str] = set()
    for region in case.regions:
        if region.image != number or not isinstance(region.geometry, Mask):
            continue
        marked.add(region.label)
        area = cut(region.geometry.to_array())
        if area.any():
            regions.append(replace(region, geometry=Mask.from_array(area), image=0))
    shown = {r.label for r in regions}
    labels = {}
    for name, label in case.labels.items():
        if label.value == 0 and not label.unit:
            labels[name] = label
        elif label.value == 1 and not label.unit and name in marked:
            labels[name] = replace(label, value=int(name in shown))
    return case.replace(
        id=f"{case.id}@{number}-{plane}-{at}", patient=case.group, images=(picture,), regions=tuple(regions),
        labels=labels, report=None, questions=(), prior="",
    )  # fmt: skip
