"""Things that lie on or in front of the specimen: ink, bubbles, dark corners, burned-in characters.

Sizes are in pixels of a 224-px image and grow with the short side (`scale` = short side / 224).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vesalius.corruptions.pillow import from_pillow, to_pillow

__all__ = ["black_corner", "bubble", "characters", "stain_deposit"]

U8 = npt.NDArray[np.uint8]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def stain_deposit(image: U8, most: int, size: int, rng: np.random.Generator, scale: float) -> U8:
    """One to `most` black blobs of about `size` pixels with an irregular rim.

    Args:
        image: `(H, W, C)`.
        most: Largest number of blobs.
        size: Side of the square that holds a blob, at 224 px.
        rng: Randomness.
        scale: Short side / 224.
    """
    out = image.copy()
    height, width = image.shape[:2]
    side = min(max(round(size * scale), 2), height, width)
    margin = min(round(10 * scale), (min(height, width) - side) // 2)
    for _ in range(int(rng.integers(1, most + 1))):
        x = int(rng.integers(margin, max(width - side - margin, margin) + 1))
        y = int(rng.integers(margin, max(height - side - margin, margin) + 1))
        out[y : y + side, x : x + side][_blob(side, rng)] = 0
    return out


def bubble(image: U8, largest: int, most: int, rng: np.random.Generator, scale: float) -> U8:
    """7 to `most` translucent white discs with a brighter rim, radius 3 to `largest`."""
    height, width = image.shape[:2]
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    rim = 2 * scale
    number = int(rng.integers(7, max(most, 7) + 1))
    half = np.minimum(rng.integers(3, max(largest, 3) + 1, number) * scale, min(height, width) / 2)
    place = rng.random((number, 2)) * (np.array([width, height]) - 2 * half[:, None]) + half[:, None]
    for x, y, r in np.rint(np.column_stack([place, half])).tolist():
        draw.ellipse((x - r - rim, y - r - rim, x + r + rim, y + r + rim), fill=130)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=100)
    picture = to_pillow(image)
    picture.paste(255 if image.shape[2] == 1 else (255, 255, 255), (0, 0, width, height), mask)
    return from_pillow(picture)


def black_corner(image: U8, multiple: float) -> U8:
    """Black outside a centred circle of `multiple` times half the short side, as a dermatoscope shows."""
    height, width = image.shape[:2]
    cx, cy = width // 2, height // 2
    radius = int(min(cx, cy, width - cx, height - cy) * multiple)
    y, x = np.ogrid[:height, :width]
    out = image.copy()
    out[(x - cx) ** 2 + (y - cy) ** 2 > radius * radius] = 0
    return out


def characters(image: U8, words: int, longest: int, font_scale: float, rng: np.random.Generator, scale: float) -> U8:
    """One to `words` random lower-case words of 3 to `longest` letters in random colours.

    Args:
        image: `(H, W, C)`.
        words: Most words.
        longest: Most letters of a word.
        font_scale: Largest letter size; 0.14 is a line height of 5 px at 224 px.
        rng: Randomness.
        scale: Short side / 224.
    """
    picture = to_pillow(image)
    draw = ImageDraw.Draw(picture)
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, words + 1))):
        n = int(rng.integers(3, longest + 1))
        size = int(rng.integers(14, max(int(font_scale * 100), 14) + 1)) / 100 * 36 * scale
        text = "".join(LETTERS[i] for i in rng.integers(0, 26, n))
        x = int(rng.integers(0, max(int(width - 8 * n * scale), 1)))
        y = int(rng.integers(0, max(int(height - 10 * scale), 1)))
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        draw.text((x, y), text, fill=colour if image.shape[2] == 3 else colour[0], font=_font(round(max(size, 1.0), 1)))
    return from_pillow(picture)


def _blob(side: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A filled closed curve with a few random waves on its rim; fills about 60 % of the square."""
    half = side / 2
    y, x = np.ogrid[:side, :side]
    dy, dx = (y + 0.5 - half) / half, (x + 0.5 - half) / half
    angle = np.arctan2(dy, dx)
    rim = np.full(angle.shape, 0.86)
    for waves in range(2, 6):
        rim = rim + rng.uniform(-0.3, 0.3) / waves * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    mask: npt.NDArray[np.bool_] = dx * dx + dy * dy <= rim * rim
    return mask


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
