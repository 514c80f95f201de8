"""Clicks, box and names as people give them, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vesalius.cases.geometry import Box
from vesalius.errors import UsageError
from vesalius.models.protocols import Prompt

Numbers = str | Sequence[float]


def read_prompts(points: Sequence[Numbers], boxes: Sequence[Numbers], names: Sequence[str]) -> list[Prompt]:
    """One prompt a target: clicks and box are about one; each of several names is a target of its own.

    Args:
        points: `X,Y` or `X,Y,LABEL`, as text or numbers.
        boxes: One `X0,Y0,X1,Y1`, or none.
        names: What the targets are called.

    Raises:
        UsageError: Numbers that are none, a box inside out, prompts that contradict each other, or none at all.
    """
    clicks = tuple(_point(point) for point in points)
    names = [name.strip() for name in names]
    if not all(names):
        raise UsageError("a name is empty", item="--text")
    if len(boxes) > 1:
        raise UsageError("more than one box", item=_text(boxes[1]), fix="run it once for each target")
    box = _box(boxes[0]) if boxes else None
    if len(names) > 1 and (clicks or box):
        raise UsageError(
            "clicks and box belong to one target", item=", ".join(names), fix="run it once for each --text"
        )
    if not (clicks or box or names):
        raise UsageError("segment what?", fix="give --point, --box or --text")
    return [Prompt(clicks, box, name) for name in names or [""]]


def _text(given: Numbers) -> str:
    return given if isinstance(given, str) else ",".join(f"{v:g}" for v in given)


def _numbers(flag: str, given: Numbers, counts: Sequence[int], form: str) -> list[float]:
    try:
        values = [float(part) for part in (given.split(",") if isinstance(given, str) else given)]
    except (ValueError, TypeError):
        values = []
    if len(values) not in counts:
        raise UsageError("cannot read the numbers", item=f"{flag} {_text(given)}", fix=f"write {flag} {form}")
    if not all(map(math.isfinite, values)):
        raise UsageError("a coordinate is not finite", item=f"{flag} {_text(given)}")
    return values


def _point(given: Numbers) -> tuple[float, float, int]:
    values = _numbers("--point", given, (2, 3), "X,Y or X,Y,LABEL")
    label = values[2] if len(values) == 3 else 1.0
    if label not in (0.0, 1.0):
        raise UsageError(
            "a click's label is 1 or 0", item=f"--point {_text(given)}", fix="use 1 inside the target and 0 outside"
        )
    return values[0], values[1], int(label)


def _box(given: Numbers) -> Box:
    x0, y0, x1, y1 = _numbers("--box", given, (4,), "X0,Y0,X1,Y1")
    if x1 <= x0 or y1 <= y0:
        raise UsageError(
            "box is inside out or empty",
            item=f"--box {_text(given)}",
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
