"""What a worker process makes of one image: the tower's views, a thumbnail, the pixels' hash."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.models.protocols import Preprocess
from vesalius.render.display import to_display

AnyArray = npt.NDArray[Any]
#: Longest side of a thumbnail in pixels, and its JPEG quality.
SIDE, QUALITY = 128, 85

Prepared = tuple[AnyArray, bytes, str]


@dataclass(frozen=True)
class Prepare:
    """Image to (views, thumbnail JPEG, SHA-256 of the stored values); picklable when the preprocessing is."""

    preprocess: Preprocess

    def __call__(self, image: Image) -> Prepared:
        """Hash, shrink and preprocess an image whose stored values are in memory."""
        return self.preprocess(image), thumbnail(image), image.content_hash()


def thumbnail(image: Image) -> bytes:
    """A JPEG of at most 128 pixels a side: the picture or the middle slice or frame, as a screen would show it."""
    from PIL import Image as Pillow

    array = image.pixels()
    if image.kind != "2d":
        array = array[len(array) // 2]
    step = max(1, min(array.shape[:2]) // (4 * SIDE))
    array = np.asarray(array[::step, ::step])
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        array = array[..., 0]
    if array.ndim == 3:
        array = array[..., :3]
    array = to_display(array, image.with_array(array, kind="2d"))
    picture = Pillow.fromarray(np.ascontiguousarray(array))
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()
