"""Clicks, box and names as they are typed, checked before anything is loaded."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from vesalius.cases.geometry import Box
from vesalius.errors import UsageError
from vesalius.models.protocols import Prompt


def read_prompts(options: argparse.Namespace) -> list[Prompt]:
    """One prompt a target: clicks and box are about one; each of several names is a target of its own.

    Raises:
        UsageError: Numbers that are none, a box inside out, prompts that contradict each other, or none at all.
    """
    points = tuple(_point(text) for text in options.point)
    names = [name.strip() for name in options.text]
    if not all(names):
        raise UsageError("a name is empty", item="--text")
    if len(options.box) > 1:
        raise UsageError("more than one box", item=options.box[1], fix="run it once for each target")
    box = _box(options.box[0]) if options.box else None
    if len(names) > 1 and (points or box):
        raise UsageError(
            "clicks and box belong to one target", item=", ".join(names), fix="run it once for each --text"
        )
    if not (points or box or names):
        raise UsageError("segment what?", fix="give --point, --box or --text")
    return [Prompt(points, box, name) for name in names or [""]]


def _numbers(flag: str, text: str, counts: Sequence[int], form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts:
        raise UsageError("cannot read the numbers", item=f"{flag} {text}", fix=f"write {flag} {form}")
    if not all(map(math.isfinite, values)):
        raise UsageError("a coordinate is not finite", item=f"{flag} {text}")
    return values


def _point(text: str) -> tuple[float, float, int]:
    values = _numbers("--point", text, (2, 3), "X,Y or X,Y,LABEL")
    label = values[2] if len(values) == 3 else 1.0
    if label not in (0.0, 1.0):
        raise UsageError(
            "a click's label is 1 or 0", item=f"--point {text}", fix="use 1 inside the target and 0 outside"
        )
    return values[0], values[1], int(label)


def _box(text: str) -> Box:
    x0, y0, x1, y1 = _numbers("--box", text, (4,), "X0,Y0,X1,Y1")
    if x1 <= x0 or y1 <= y0:
        raise UsageError(
            "box is inside out or empty",
            item=f"--box {text}",
            fix="write x0,y0,x1,y1 with x0 < x1, y0 < y1 (y downwards)",
        )
    return Box(x0, y0, x1, y1)


def check_inside(prompt: Prompt, size: tuple[int, int]) -> None:
    """Hold clicks and box against the picture.

    Args:
        prompt: In pixels.
        size: Height and width.

    Raises:
        UsageError: A click outside, or a box that leaves the picture.
    """
    height, width = size
    for x, y, _ in prompt.points:
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError("click is outside the image", item=f"--point {x:g},{y:g}", why=f"it is {width} x {height}")
    b = prompt.box
    if b is not None and not (b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height):
        raise UsageError(
            "box leaves the image", item=f"--box {b.x0:g},{b.y0:g},{b.x1:g},{b.y1:g}", why=f"it is {width} x {height}"
        )
