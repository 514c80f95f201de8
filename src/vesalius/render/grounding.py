"""What a grounder found, as a picture: all boxes, then for each phrase where the model looked, with its box."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vesalius.cases.geometry import Box
from vesalius.render.heat import draw_heat
from vesalius.render.overlay import draw_overlay

#: Shorter side of a drawing, so that names can be read on a thumbnail too.
LEGIBLE = 512
COLUMNS = 3
U8 = npt.NDArray[np.uint8]


class Pointed(Protocol):
    """A phrase with its boxes and scores, best first, the map behind them, and how many there are if all are meant."""

    @property
    def phrase(self) -> str: ...  # noqa: D102
    @property
    def boxes(self) -> Sequence[Box]: ...  # noqa: D102
    @property
    def scores(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def heat(self) -> npt.NDArray[np.float32] | None: ...  # noqa: D102
    @property
    def count(self) -> int | None: ...  # noqa: D102


def draw_groundings(picture: U8, found: Sequence[Pointed], threshold: float) -> Pillow.Image:
    """Panels in rows of three.

    Args:
        picture: `(H, W, 3)` as a screen shows it.
        found: What was found, boxes in its pixels.
        threshold: Phrases scored below it are drawn on their own panel only, as not here; a phrase with a count is
            drawn with all its boxes.
    """
    height, width = picture.shape[:2]
    scale = max(1.0, LEGIBLE / min(height, width))
    size = (round(width * scale), round(height * scale))
    large: U8 = np.asarray(Pillow.fromarray(picture).resize(size, Pillow.Resampling.BICUBIC))
    entries = [_entries(g, threshold, scale) for g in found]
    here = [e for g, own in zip(found, entries, strict=True) if own and _here(g, threshold) for e in own]
    panels = [draw_overlay(large, [], here, once=True)]
    panels += [
        draw_overlay(draw_heat(large, g.heat), [], own, once=True)
        for g, own in zip(found, entries, strict=True)
        if g.heat is not None
    ]
    columns = min(COLUMNS, len(panels))
    sheet = np.full((-(-len(panels) // columns) * size[1], columns * size[0], 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        y, x = i // columns * size[1], i % columns * size[0]
        sheet[y : y + size[1], x : x + size[0]] = panel
    return Pillow.fromarray(sheet)


def picture_name(case_id: str, number: int) -> str:
    """A name for a case's picture that is a plain file name and, by its number, unique."""
    return f"{number:04d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', case_id)[-60:].strip('.-') or 'case'}.png"


def _here(found: Pointed, threshold: float) -> bool:
    return found.count is not None or found.scores[0] >= threshold


def _entries(found: Pointed, threshold: float, scale: float) -> list[tuple[str, Box]]:
    """The boxes to draw: all where they were counted, else the best; one caption says what they are."""
    if not found.boxes:
        return []
    if found.count is not None:
        caption = f"{found.phrase}: {found.count}"
    else:
        caption = f"{found.phrase} {found.scores[0]:.2f}" + ("" if _here(found, threshold) else ", not here")
    drawn = found.boxes if found.count is not None else found.boxes[:1]
    return [(caption, box.scaled(scale, scale)) for box in drawn]
