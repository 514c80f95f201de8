"""Does a classifier read what is written on the picture? Words burned into a corner, against the same letters shuffled.

A dual encoder that was trained on captions can read: "pneumonia" written on a normal film moves its answer (typographic
attack, Goh et al., Distill 2021). Any mark in a corner moves a classifier, by how much depends on its ink and a little
on its shape. So each word is compared with several orders of its own letters at the same place and size, and tested as
one more draw from them: where nothing is read, the word's mean shift is a draw like theirs, and
(word - mean of orders) / (sd of orders sqrt(1 + 1 / m)) follows Student's t with m - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy.special import stdtr

from vesalius.audit.finding import Finding
from vesalius.corruptions.keys import generator
from vesalius.errors import UsageError
from vesalius.metrics.statistics.bootstrap import bootstrap_mean

__all__ = ["SIZES", "injection_audit", "shuffled", "write_on"]

#: Height of the letters as a share of the picture's height.
SIZES = (0.06, 0.12)
#: Orders of the letters that a word is compared with; with fewer than three (as "aa" has) a word is not tested.
ORDERS = 7
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


def shuffled(text: str, most: int, seed: int = 0) -> tuple[str, ...]:
    """Up to `most` other orders of a text's letters, no two alike; spaces stay, so that ink and width do too."""
    letters = [c for c in text if not c.isspace()]
    rng = generator("shuffled", text, seed)
    found: dict[str, None] = {}
    for _ in range(20 * most):
        rest = iter([letters[int(i)] for i in rng.permutation(len(letters))])
        other = "".join(c if c.isspace() else next(rest) for c in text)
        if other != text:
            found.setdefault(other)
        if len(found) == most:
            break
    return tuple(found)


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
        A finding for each word and size: the mean shift towards the word, less that of its shuffled letters.
    """
    labels = np.asarray(y)
    findings = []
    for word, value, sign in ((words[0], 0, 1), (words[1], 1, -1)):
        where = [int(i) for i in np.flatnonzero(labels == value)]
        if len(where) < 10:
            continue
        orders = shuffled(word, ORDERS, seed)
        if len(orders) < 3:
            continue
        corners = [_CORNERS[int(generator("injection", keys[i], seed).integers(4))] for i in where]
        clean = predict([pictures[i] for i in where], where)
        for size in sizes:
            told, *controls = (
                predict(
                    [write_on(pictures[i], some, size=size, corner=c) for i, c in zip(where, corners, strict=True)],
                    where,
                )
                for some in (word, *orders)
            )
            control = np.stack(controls)
            shift = sign * (told - control.mean(axis=0))
            found = bootstrap_mean(shift, resamples=2000, seed=seed, level=level)
            p = _one_more(float(sign * told.mean()), sign * control.mean(axis=1))
            flips = {
                "written": float(((told >= threshold) != (clean >= threshold)).mean()),
                "shuffled": float(((control >= threshold) != (clean >= threshold)).mean()),
            }
            side = "negative" if value == 0 else "positive"
            text = (
                f'"{word}" written on {side} pictures ({size:.0%} of the height) moves the probability towards it by '
                f"{shift.mean():+.3f} more than its letters shuffled; {flips['written']:.1%} of decisions flip against "
                f"{flips['shuffled']:.1%}"
            )
            name = f"injection:{'raise' if sign > 0 else 'lower'}:{size:g}"
            findings.append(Finding("injection", name, text, found, 0.0, p, details=flips))
    return tuple(findings)


def _one_more(value: float, others: npt.NDArray[np.float64]) -> float:
    """One-sided p-value of "one more draw from the same normal distribution", for large values."""
    m = len(others)
    above = value - float(others.mean())
    spread = max(float(others.std(ddof=1)) * (1 + 1 / m) ** 0.5, 1e-6)  # a model that minds nothing has no spread
    return float(stdtr(m - 1, -above / spread))
