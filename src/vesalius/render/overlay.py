"""Masks, boxes and clicks drawn over a picture: fills that let it through, outlines, names.

Everything is sized by the picture's short side, so that a thumbnail and a whole film read alike. A name has one
colour in masks and boxes, and what a colour-blind reader may confuse is told apart by its written name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import maximum_filter, minimum_filter

from vesalius.cases.geometry import Box
from vesalius.errors import UsageError

U8 = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]
Rect = tuple[int, int, int, int]

#: Okabe and Ito's colours without black, those that stand out on grey first (https://jfly.uni-koeln.de/color/).
COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
#: Share of the colour in a mask's fill: the tissue under it stays readable.
FILL = 0.35
#: Text smaller than this cannot be read (pixels).
_SMALLEST_TEXT = 10


def draw_overlay(
    display_rgb: U8,
    masks: Sequence[tuple[str, BoolArray]],
    boxes: Sequence[tuple[str, Box]] = (),
    points: Sequence[tuple[float, float, int]] = (),
    *,
    once: bool = False,
) -> U8:
    """A copy of the picture with regions drawn over it.

    Args:
        display_rgb: `(H, W, 3)`, what a screen shows (see `render.display.to_display`).
        masks: Name (may be "") and `(H, W)` mask of each region; an empty mask draws nothing.
        boxes: Name and box, in pixels; parts outside the picture are cut off.
        points: `(x, y, label)` clicks in pixels: a white disc with a plus is inside the target (label 1), a black one
            with a minus is outside (label 0).
        once: Write each name at its first region only: many of one kind would hide the picture.

    Returns:
        `(H, W, 3)`.

    Raises:
        UsageError: The picture is not RGB bytes, or a mask is not of its size.
    """
    if display_rgb.ndim != 3 or display_rgb.shape[-1] != 3 or display_rgb.dtype != np.uint8:
        raise UsageError("an overlay needs an RGB picture", why=f"{display_rgb.dtype} of shape {display_rgb.shape}")
    height, width = display_rgb.shape[:2]
    colours = _colours([n for n, _ in masks], [n for n, _ in boxes])
    line = max(1, round(min(height, width) / 300))
    out = display_rgb.copy()
    for (name, mask), colour in zip(masks, colours, strict=False):
        if mask.shape != (height, width):
            raise UsageError("a mask is not of the picture's size", item=name, why=f"{mask.shape} on {(height, width)}")
        _paint(out, mask.astype(bool, copy=False), colour, line)
    picture = Image.fromarray(out)
    draw = ImageDraw.Draw(picture)
    labels: list[tuple[str, Rect, Colour]] = []
    for (name, mask), colour in zip(masks, colours, strict=False):
        if (around := _around(mask)) is not None:
            labels.append((name, around, colour))
    for (name, box), colour in zip(boxes, colours[len(masks) :], strict=True):
        rect = _frame(draw, box, colour, line, width, height)
        if rect is not None:
            labels.append((name, rect, colour))
    for x, y, label in points:
        _click(draw, x, y, label, line)
    if once:
        labels = list({name: (name, rect, colour) for name, rect, colour in reversed(labels)}.values())[::-1]
    _write(draw, [entry for entry in labels if entry[0].strip()], width, height)
    return np.asarray(picture)


def _colours(*groups: Iterable[str]) -> list[Colour]:
    """One colour for each entry; entries of one name share it, those without a name have one each."""
    keys = [name or (g, n) for g, group in enumerate(groups) for n, name in enumerate(group)]
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return [COLOURS[place[key] % len(COLOURS)] for key in keys]


def _paint(out: U8, mask: BoolArray, colour: Colour, line: int) -> None:
    """Fill and outline, in place; a dark rim outside the outline keeps it visible on bright tissue."""
    around = _around(mask)
    if around is None:
        return
    x0, y0, x1, y1 = around
    rim = max(1, line // 2)
    rows = slice(max(y0 - rim, 0), min(y1 + rim, mask.shape[0]))
    columns = slice(max(x0 - rim, 0), min(x1 + rim, mask.shape[1]))
    inside, part = mask[rows, columns], out[rows, columns]
    core = minimum_filter(inside.astype(np.uint8), 2 * line + 1, mode="constant", cval=0) > 0
    halo = (maximum_filter(inside.astype(np.uint8), 2 * rim + 1, mode="constant", cval=0) > 0) & ~inside
    tint = np.asarray(colour, np.float32)
    part[core] = np.rint((1 - FILL) * part[core] + FILL * tint).astype(np.uint8)
    part[inside & ~core] = colour
    part[halo] = part[halo] // 3


def _around(mask: BoolArray) -> Rect | None:
    """`x0, y0, x1, y1` of the pixels inside, half-open, or None."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _frame(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, line: int, width: int, height: int) -> Rect | None:
    inside = box.clipped(height, width)
    if inside.width <= 0 or inside.height <= 0:
        return None
    x0, y0 = (int(np.floor(v)) for v in (inside.x0, inside.y0))
    x1, y1 = (int(np.ceil(v)) for v in (inside.x1, inside.y1))
    rim = max(1, line // 2)
    # Pillow's rectangles include their last pixel; the box is half-open.
    draw.rectangle((x0 - rim, y0 - rim, x1 - 1 + rim, y1 - 1 + rim), outline=(0, 0, 0), width=rim)
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=line)
    return x0, y0, x1, y1


def _click(draw: ImageDraw.ImageDraw, x: float, y: float, label: int, line: int) -> None:
    r, stroke = 3 * line + 1, max(1, line)
    face, edge = ((255, 255, 255), (0, 0, 0)) if label else ((0, 0, 0), (255, 255, 255))
    cx, cy = int(np.floor(x)), int(np.floor(y))
    draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=face, outline=edge, width=stroke)
    arm = r - stroke - 1
    draw.line((cx - arm, cy, cx + arm, cy), fill=edge, width=stroke)
    if label:
        draw.line((cx, cy - arm, cx, cy + arm), fill=edge, width=stroke)


def _write(draw: ImageDraw.ImageDraw, labels: Sequence[tuple[str, Rect, Colour]], width: int, height: int) -> None:
    """Names on plates of their colour, inside the picture and, while there is room, not on one another."""
    size = max(_SMALLEST_TEXT, round(min(width, height) / 36))
    font = ImageFont.load_default(size)
    pad = max(1, size // 6)
    tall = min(sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else size, height)
    taken: list[Rect] = []
    for name, (x0, y0, x1, y1), colour in labels:
        text = _fitting(" ".join(name.split()), width - 2 * pad, draw, font)
        if not text:
            continue
        wide = min(int(np.ceil(draw.textlength(text, font=font))) + 2 * pad, width)
        places = [(x0, y0 - tall), (x0, y1), (x0, y0), (x0, y1 - tall), (x1, y0), (x0 - wide, y0)]
        plates = [_moved_in(x, y, wide, tall, width, height) for x, y in places]
        best = min(plates, key=lambda p: sum(_shared(p, other) for other in taken))
        taken.append(best)
        draw.rectangle((best[0], best[1], best[2] - 1, best[3] - 1), fill=colour)
        dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 110
        draw.text((best[0] + pad, best[1]), text, fill=(0, 0, 0) if dark else (255, 255, 255), font=font)


def _fitting(
    text: str, room: float, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """The text, cut with an ellipsis where it is wider than the room."""
    if draw.textlength(text, font=font) <= room:
        return text
    while text and draw.textlength(text + "...", font=font) > room:
        text = text[:-1]
    return text.rstrip() + "..." if text else ""


def _moved_in(x: int, y: int, wide: int, tall: int, width: int, height: int) -> Rect:
    x, y = max(0, min(x, width - wide)), max(0, min(y, height - tall))
    return x, y, x + wide, y + tall


def _shared(a: Rect, b: Rect) -> int:
    """Pixels that two rectangles share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
