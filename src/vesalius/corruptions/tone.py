"""Brightness, contrast, gamma, saturation and resolution: what touches values, not places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vesalius.corruptions.pillow import BOX, from_pillow, jpeg, luma, to_pillow

__all__ = ["brightness", "contrast", "gamma", "jpeg_compression", "look_up", "pixelate", "saturate"]

U8 = npt.NDArray[np.uint8]


def look_up(image: U8, table: U8) -> U8:
    """Replace every value v by `table[v]` (as bytes: several times faster than fancy indexing)."""
    return np.frombuffer(bytearray(image.tobytes().translate(table.tobytes())), dtype=np.uint8).reshape(image.shape)


def brightness(image: U8, factor: float) -> U8:
    """Multiply, clip, truncate."""
    return look_up(image, _blend(0, factor))


def contrast(image: U8, factor: float) -> U8:
    """Move every value away from (factor > 1) or towards the rounded mean grey level of this image."""
    grey = luma(image)
    mean = int(int(grey.sum(dtype=np.uint64)) / grey.size + 0.5)
    return look_up(image, _blend(mean, factor))


def gamma(image: U8, exponent: float) -> U8:
    """Raise x in [0, 1] to the power of `exponent`; above 1 darkens."""
    values = (255 + 1 - 1e-3) * (np.arange(256) / 255.0) ** exponent
    return look_up(image, np.clip(values, 0, 255).astype(np.uint8))


def saturate(image: U8, amount: float) -> U8:
    """Add `amount` to the saturation S of HSV, at constant hue and value.

    For a fixed hue and value, V - rgb is proportional to S, so the colour conversion reduces to one scaling. Exactly
    grey pixels have no hue; HSV files them under red, and so they turn red, as in the published operator.
    """
    planes = [np.ascontiguousarray(image[:, :, c]) for c in range(3)]
    high8 = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    low8 = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    high = high8.astype(np.float32)
    spread = high - low8
    # (V - rgb) grows by new S / old S = min(old S + amount, 1) / old S, with old S = spread / V.
    grey = high8 == low8
    np.copyto(spread, 1, where=grey)
    scale = np.minimum(1 + np.float32(amount) * high / spread, high / spread)
    out = np.empty(image.shape, dtype=np.uint8)
    for c, plane in enumerate(planes):
        value = high - (high - plane) * scale
        if c:
            np.copyto(value, high * np.float32(1 - min(amount, 1.0)), where=grey)
        value += 1e-3
        out[:, :, c] = value.astype(np.uint8)
    return out


def pixelate(image: U8, factor: float) -> U8:
    """Down to `factor` of the size by box mean, and back up in blocks."""
    height, width = image.shape[:2]
    small = to_pillow(image).resize((max(int(width * factor), 1), max(int(height * factor), 1)), BOX)
    return from_pillow(small.resize((width, height), BOX))


def jpeg_compression(image: U8, quality: float) -> U8:
    """JPEG at a quality of 1 to 95."""
    return jpeg(image, int(quality))


def _blend(base: int, factor: float) -> U8:
    # In single precision and truncated, which is how Pillow blends two images.
    values = np.float32(base) + np.float32(factor) * (np.arange(256, dtype=np.float32) - np.float32(base))
    table: U8 = np.clip(values, 0, 255).astype(np.uint8)
    return table
