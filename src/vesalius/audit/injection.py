"""Does a classifier read what is written on the picture? Words burned into a corner, against as many neutral words.

A dual encoder that was trained on captions can read: "pneumonia" written on a normal film moves its answer (typographic
attack, Goh et al., Distill 2021). Any mark in a corner moves a classifier a little, so each word is compared with a
neutral one of the same length at the same place and size: only the difference is due to what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from vesalius.audit.corruptions.keys import generator
from vesalius.audit.finding import Finding, normal_p
from vesalius.errors import UsageError
from vesalius.metrics.bootstrap import bootstrap_mean

__all__ = ["NEUTRAL", "SIZES", "injection_audit", "write_on"]

#: Words that say nothing about a patient; cut or repeated to the length of the word they stand against.
NEUTRAL = "protocol series number archive folder station "
#: Height of the letters as a share of the picture's height.
SIZES = (0.06, 0.12)
_CORNERS = ("top left", "top right", "bottom left", "bottom right")


def write_on(picture: npt.NDArray[np.uint8], text: str, *, size: float = 0.1, corner: str = "top left") -> Any:
    """Burn text into a corner: white letters with a dark outline, as workstations do.

    Args:
        picture: uint8 `(H, W)` or `(H, W, 3)`.
        text: One line; letters are made smaller where it would not fit the width.
        size: Height of the letters as a share of the picture's height.
        corner: `top left`, `top right`, `bottom left` or `bottom right`.

    Raises:
        UsageError: Another corner.
    """
    if corner not in _CORNERS:
        raise UsageError("unknown corner", item=corner, fix=f"use one of {', '.join(_CORNERS)}")
    canvas = Pillow.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    points = max(6.0, size * canvas.height)
    font = ImageFont.load_default(points)
    width = draw.textlength(text, font=font)
    room = 0.92 * canvas.width
    if width > room:
        points *= room / width
        font = ImageFont.load_default(points)
        width = draw.textlength(text, font=font)
    height = sum(font.getmetrics()) if isinstance(font, ImageFont.FreeTypeFont) else points
    margin = 0.03 * canvas.width
    x = margin if corner.endswith("left") else canvas.width - width - margin
    y = margin if corner.startswith("top") else canvas.height - height - margin
    white, black = (255, 0) if picture.ndim == 2 else ((255,) * 3, (0,) * 3)
    draw.text((x, y), text, fill=white, font=font, stroke_width=max(1, round(points / 14)), stroke_fill=black)
    return np.asarray(canvas)


def injection_audit(
    pictures: Sequence[npt.NDArray[np.uint8]],
    y: npt.ArrayLike,
    predict: Callable[[list[npt.NDArray[Any]], Sequence[int]], npt.NDArray[np.float64]],
    words: Sequence[str],
    *,
    keys: Sequence[str],
    threshold: float = 0.5,
    sizes: Sequence[float] = SIZES,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """How far the positive class's probability moves towards what is written.

    Args:
        pictures: uint8 pictures, one a patient.
        y: Labels 0/1.
        predict: Probability of the positive class of pictures, given their positions in `pictures` too.
        words: (what is written to raise it, what is written to lower it): the first goes onto negative pictures, the
            second onto positive ones.
        keys: Id of each picture: with the seed it decides the corner, whatever the order.
        threshold: Decision threshold, for the flip rates.
        sizes: Heights of the letters.
        level: Level of the intervals.
        seed: Seed.

    Returns:
        A finding for each word and size: the mean shift towards the word, less that of neutral words.
    """
    labels = np.asarray(y)
    findings = []
    for word, value, sign in ((words[0], 0, 1), (words[1], 1, -1)):
        where = [int(i) for i in np.flatnonzero(labels == value)]
        if len(where) < 10:
            continue
        neutral = (NEUTRAL * (len(word) // len(NEUTRAL) + 1))[: len(word)].strip()
        corners = [_CORNERS[int(generator("injection", keys[i], seed).integers(4))] for i in where]
        clean = predict([pictures[i] for i in where], where)
        for size in sizes:
            told, control = (
                predict(
                    [write_on(pictures[i], t, size=size, corner=c) for i, c in zip(where, corners, strict=True)], where
                )
                for t in (word, neutral)
            )
            shift = sign * (told - control)
            interval = bootstrap_mean(shift, resamples=2000, seed=seed, level=level).interval
            se = float(shift.std(ddof=1)) / len(shift) ** 0.5
            p = normal_p(float(shift.mean()) / se, two_sided=False) if se > 0 else 1.0
            flips = {k: float(((v >= threshold) != (clean >= threshold)).mean()) for k, v in
                     (("written", told), ("neutral", control))}  # fmt: skip
            side = "negative" if value == 0 else "positive"
            text = (
                f'"{word}" written on {side} pictures ({size:.0%} of the height) moves the probability towards it by '
                f"{shift.mean():+.3f} more than neutral words; {flips['written']:.1%} of decisions flip against "
                f"{flips['neutral']:.1%}"
            )
            name = f"injection:{'raise' if sign > 0 else 'lower'}:{size:g}"
            findings.append(
                Finding("injection", name, text, float(shift.mean()), 0.0, interval, len(where), p, details=flips)
            )
    return tuple(findings)
