"""Plots as inline SVG: small, without script, in the page's own colours so that they follow light and dark."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from vesalius.metrics.measure import Measure

__all__ = ["ForestRow", "curve", "forest", "heat", "lines", "picture"]

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot: a value with its interval.

    Args:
        label: What it is.
        measure: The number and its interval, None when there is none.
        note: Text at the right.
        alarm: Drawn as an alarm.
    """

    label: str
    measure: Measure | None
    note: str = ""
    alarm: bool = False


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(content)}</text>'


def _svg(width: float, height: float, body: list[str], label: str) -> Markup:
    inside = "".join(body)
    return Markup(  # noqa: S704  # every text in it went through html.escape
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{html.escape(label, quote=True)}">{inside}</svg>'
    )


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    span = high - low
    if span <= 0:
        return [low]
    raw = span / about
    size = 10 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def forest(rows: Sequence[ForestRow], *, reference: float | None = None, axis: str = "", label: str = "") -> Markup:
    """Values with intervals, one under the other, and a line where nothing would be wrong."""
    shown = [r.measure for r in rows if r.measure is not None]
    ends = [v for m in shown for v in (m.value, m.low, m.high) if math.isfinite(v)]
    if reference is not None:
        ends.append(reference)
    if not ends:
        return Markup("")
    low, high = min(ends), max(ends)
    pad = max((high - low) * 0.06, 0.01)
    low, high = low - pad, high + pad
    left, plot, right, row = 210.0, 330.0, 190.0, 22.0
    height = row * len(rows) + 44

    def at(v: float) -> float:
        return left + (v - low) / (high - low) * plot

    body = []
    bottom = row * len(rows) + 8
    for t in _ticks(low, high):
        body.append(f'<line class="grid" x1="{at(t):.1f}" x2="{at(t):.1f}" y1="4" y2="{bottom:.1f}"/>')
        body.append(_text(at(t), bottom + 15, f"{t:g}", "small", "middle"))
    if reference is not None:
        body.append(
            f'<line class="reference" x1="{at(reference):.1f}" x2="{at(reference):.1f}" y1="4" y2="{bottom:.1f}"/>'
        )
    for i, r in enumerate(rows):
        y = row * i + 16
        kind = "alarm" if r.alarm else "mark"
        body.append(_text(left - 10, y + 4, r.label, "bold" if r.alarm else "", "end"))
        m = r.measure
        if m is not None and m.has_interval:
            body.append(f'<line class="{kind}" x1="{at(m.low):.1f}" x2="{at(m.high):.1f}" y1="{y}" y2="{y}"/>')
        if m is not None and math.isfinite(m.value):
            body.append(f'<circle class="{kind}" cx="{at(m.value):.1f}" cy="{y}" r="4"/>')
        body.append(_text(left + plot + 10, y + 4, r.note, "small"))
    if axis:
        body.append(_text(left + plot / 2, height - 4, axis, "small", "middle"))
    return _svg(left + plot + right, height, body, label or axis)


def curve(
    series: Mapping[str, Points], *, x: str, y: str, diagonal: bool = True, dots: bool = False, label: str = ""
) -> Markup:
    """Curves in the unit square (ROC, reliability)."""
    size, left, top = 230.0, 46.0, 10.0

    def at(px: float, py: float) -> tuple[float, float]:
        return left + px * size, top + (1 - py) * size

    body = [f'<rect class="frame" x="{left}" y="{top}" width="{size}" height="{size}"/>']
    for t in (0, 0.25, 0.5, 0.75, 1):
        body.append(_text(at(t, 0)[0], top + size + 15, f"{t:g}", "small", "middle"))
        body.append(_text(left - 6, at(0, t)[1] + 4, f"{t:g}", "small", "end"))
    if diagonal:
        (a, b), (c, d) = at(0, 0), at(1, 1)
        body.append(f'<line class="reference" x1="{a}" y1="{b}" x2="{c}" y2="{d}"/>')
    for k, points in enumerate(series.values()):
        path = " ".join(f"{at(*p)[0]:.1f},{at(*p)[1]:.1f}" for p in points)
        body.append(f'<polyline class="curve c{k % 6}" points="{path}"/>')
        if dots:
            body += [f'<circle class="mark" cx="{at(*p)[0]:.1f}" cy="{at(*p)[1]:.1f}" r="3"/>' for p in points]
    body.append(_text(left + size / 2, top + size + 32, x, "small", "middle"))
    body.append(
        f'<text class="small" text-anchor="middle" transform="translate(12 {top + size / 2}) rotate(-90)">'
        f"{html.escape(y)}</text>"
    )
    return _svg(left + size + 14, top + size + 40, body, label or f"{y} against {x}")


def lines(
    rows: Mapping[str, Sequence[float]], steps: Sequence[Any], *, clean: float, chance: float, label: str = ""
) -> Markup:
    """Small multiples: one panel a corruption, error against severity, clean and chance level as lines."""
    names = list(rows)
    columns, width, height, gap = 5, 132.0, 86.0, 26.0
    count = math.ceil(len(names) / columns)
    top = max([chance, clean, *(v for r in rows.values() for v in r)]) * 1.08
    body: list[str] = []
    for k, name in enumerate(names):
        x0 = (k % columns) * (width + 14) + 34
        y0 = (k // columns) * (height + gap) + 18

        def at(i: float, v: float, x0: float = x0, y0: float = y0) -> tuple[float, float]:
            across = i / max(len(steps) - 1, 1)
            return x0 + 8 + across * (width - 16), y0 + height - v / top * height

        body.append(f'<rect class="frame" x="{x0}" y="{y0}" width="{width}" height="{height}"/>')
        body.append(_text(x0, y0 - 5, name.replace("_", " "), "small"))
        for level, kind in ((clean, "clean"), (chance, "reference")):
            y = at(0, level)[1]
            body.append(f'<line class="{kind}" x1="{x0}" x2="{x0 + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        points = [at(i, v) for i, v in enumerate(rows[name])]
        body.append('<polyline class="curve c0" points="' + " ".join(f"{a:.1f},{b:.1f}" for a, b in points) + '"/>')
        body += [f'<circle class="mark" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in points]
        if k % columns == 0:
            body.append(_text(x0 - 5, at(0, top)[1] + 8, f"{top:.2f}", "tiny", "end"))
            body.append(_text(x0 - 5, y0 + height, "0", "tiny", "end"))
    return _svg(columns * (width + 14) + 34, count * (height + gap) + 20, body, label)


def heat(values: npt.NDArray[np.float64], background: npt.NDArray[np.float64], *, label: str = "") -> Markup:
    """A grid of values over a grey picture: the more opaque, the larger; numbers where they matter."""
    side, rows, columns = 288.0, *values.shape
    top = max(float(np.nanmax(values)), 0.05)
    data = picture(np.clip(background, 0, 255).astype(np.uint8))
    body = [f'<image href="{data}" x="0" y="0" width="{side}" height="{side}" preserveAspectRatio="none"/>']
    for r in range(rows):
        for c in range(columns):
            v = float(values[r, c])
            x, y = c * side / columns, r * side / rows
            opacity = 0.85 * max(v, 0.0) / top
            body.append(
                f'<rect class="cell" x="{x:.1f}" y="{y:.1f}" width="{side / columns:.1f}" height="{side / rows:.1f}" '
                f'style="fill-opacity:{opacity:.3f}"><title>{v:+.3f}</title></rect>'
            )
            if v >= 0.3 * top:
                body.append(_text(x + side / columns / 2, y + side / rows / 2 + 4, f"{v:.2f}", "onpicture", "middle"))
    return _svg(side, side, body, label)


def picture(array: npt.NDArray[np.uint8]) -> str:
    """A PNG as a data address."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
