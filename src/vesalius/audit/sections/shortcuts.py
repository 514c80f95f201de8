"""Section `shortcuts`: the model on the border alone, with cells covered, with the anatomy removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vesalius.audit import shortcuts
from vesalius.audit.context import Context
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Test border and cells outside the regions; masks where regions are drawn on ten cases of each class."""
    s, inputs = context.settings, context.inputs
    if not inputs.flat:
        raise BadInputError("the images are not single pictures")
    index = inputs.one_a_patient(s.seed, s.most_pictures)
    y = inputs.y[index]
    if not _enough(y):
        raise BadInputError(f"fewer than 10 patients of a class ({int(y.sum())} of {len(y)} positive)")
    where = [int(i) for i in index]
    pictures = [context.picture(i) for i in where]

    def alone(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        return context.asker.alone(arrays, where)

    def covered(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        return context.asker.changed(arrays, where)

    (border,) = shortcuts.border_audit(pictures, y, alone, level=s.level)
    regions = inputs.regions(index, [p.shape for p in pictures], s.anatomy)
    cells, loss = shortcuts.occlusion_audit(pictures, y, covered, regions=regions, level=s.level, progress=context.say)
    context.findings += [border, *cells]
    context.put("shortcuts.border_auroc", border.measure)
    masks = _masks(context, where, pictures, regions)
    context.sections["shortcuts"] = {
        "occlusion": loss,
        "mean_image": np.rint(np.mean([_thumb(p) for p in pictures], axis=0)),
        "n": len(where),
        "masks": masks,
        "sizes": len({p.shape[:2] for p in pictures}),
    }


def _masks(
    context: Context,
    where: Sequence[int],
    pictures: Sequence[npt.NDArray[np.uint8]],
    regions: Sequence[npt.NDArray[np.bool_] | None],
) -> list[dict[str, Any]]:
    """The five ways of masking, on the cases with a region."""
    keep = [k for k, r in enumerate(regions) if r is not None and r.any()]
    y = context.inputs.y[[where[k] for k in keep]] if keep else np.zeros(0, np.int64)
    if not _enough(y):
        context.skipped["shortcuts: masks"] = "regions are not drawn on 10 positive and 10 negative cases"
        return []

    def predict(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        return context.asker.alone(arrays, [where[k] for k in keep])

    chosen = [cast("npt.NDArray[np.bool_]", regions[k]) for k in keep]
    found = shortcuts.mask_audit([pictures[k] for k in keep], chosen, y, predict, level=context.settings.level)
    context.findings += found
    for f in found:
        context.put(f"shortcuts.{f.name.replace(':', '.')}", f.measure)
    return [f.to_dict() for f in found]


def _enough(y: npt.NDArray[np.int64]) -> bool:
    return min(int((y == 1).sum()), int((y == 0).sum())) >= 10


def _thumb(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    grey = Pillow.fromarray(picture if picture.ndim == 2 or picture.shape[2] == 3 else picture[:, :, 0]).convert("L")
    return np.asarray(grey.resize((96, 96)), dtype=np.float64)
