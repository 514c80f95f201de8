"""The few Pillow calls the corruptions need, on `(H, W, C)` uint8 arrays with one or three channels."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["BILINEAR", "BOX", "from_pillow", "jpeg", "luma", "to_pillow"]

U8 = npt.NDArray[np.uint8]
BOX, BILINEAR = Image.Resampling.BOX, Image.Resampling.BILINEAR


def to_pillow(image: U8) -> Image.Image:
    """A Pillow image (mode L or RGB)."""
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def from_pillow(picture: Image.Image) -> U8:
    """The values as `(H, W, C)`."""
    array = np.array(picture, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def jpeg(image: U8, quality: int) -> U8:
    """Through JPEG and back (Pillow's defaults: 4:2:0 chroma for colour)."""
    buffer = io.BytesIO()
    to_pillow(image).save(buffer, "JPEG", quality=quality)
    return from_pillow(Image.open(buffer))


def luma(image: U8) -> U8:
    """Grey value `(H, W, 1)` by ITU-R 601-2 weights; a grey image is its own."""
    return image if image.shape[2] == 1 else from_pillow(to_pillow(image).convert("L"))
