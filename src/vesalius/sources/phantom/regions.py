"""From masks to regions at every level: the box is the box of the mask, the point lies inside it, by construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vesalius.cases import Box, Mask, Point, Region
from vesalius.sources.phantom.config import PhantomConfig
from vesalius.sources.phantom.dials import read_mask
from vesalius.sources.phantom.model import Array, Finding, Part, Scalar
from vesalius.sources.phantom.reports import MEASURED, phrase
from vesalius.sources.phantom.seeding import stream

#: What is too small and too many for masks: given as box and point whatever the configuration asks for.
SMALL = frozenset({"cell", "calcification"})


def box_of(mask: Array, frame: int | None = None) -> Box:
    """The half-open box of a mask that is not empty: 2-d, 3-d, or 2-d in one frame of a video."""
    low, high = [], []
    for axis in range(mask.ndim):
        other = tuple(a for a in range(mask.ndim) if a != axis)
        line = np.flatnonzero(mask.any(axis=other))
        low.append(float(line[0]))
        high.append(float(line[-1]) + 1.0)
    if mask.ndim == 3:
        return Box(low[2], low[1], high[2], high[1], low[0], high[0])
    if frame is not None:
        return Box(low[1], low[0], high[1], high[0], float(frame), float(frame) + 1.0)
    return Box(low[1], low[0], high[1], high[0])


def point_of(mask: Array, frame: int | None = None) -> Point:
    """A pixel centre inside the mask, as close to its middle as can be."""
    where = np.argwhere(mask)
    middle = where.mean(0)
    best = where[int(((where - middle) ** 2).sum(1).argmin())]
    if mask.ndim == 3:
        return Point(float(best[2]) + 0.5, float(best[1]) + 0.5, float(best[0]))
    return Point(float(best[1]) + 0.5, float(best[0]) + 0.5, None if frame is None else float(frame))


def make_regions(
    config: PhantomConfig, index: int, parts: Sequence[Part], findings: Sequence[Finding]
) -> tuple[Region, ...]:
    """Regions of one case: every part as mask, box, point (as configured), then the simulated readers' masks."""
    found = {f.name: f for f in findings}
    out: list[Region] = []
    seen: Counter[str] = Counter()
    for number, part in enumerate(parts):
        if not part.mask.any() or (not config.organs and part.granularity in ("organ", "zone")):
            continue
        seen[part.label] += 1
        attributes: dict[str, Scalar] = {"id": f"{part.label}#{seen[part.label]}"}
        words = ""
        f = found.get(part.finding)
        if f is not None:
            attributes |= {"finding": f.name, "severity": f.severity, "certainty": f.certainty}
            for name, value in (("side", f.side), ("zone", f.zone), ("change", f.change)):
                if value and name not in part.attributes:
                    attributes[name] = value
            if f.size and f.name in MEASURED and "size_mm" not in part.attributes:
                attributes["size_mm"] = f.size
            words = phrase(f)
        attributes |= part.attributes
        kinds = ("box", "point") if part.granularity in SMALL else config.geometries
        for kind in kinds:
            geometry = (
                Mask.from_array(part.mask)
                if kind == "mask"
                else box_of(part.mask, part.frame)
                if kind == "box"
                else point_of(part.mask, part.frame)
            )
            out.append(Region(geometry, part.label, words, part.image, part.granularity, "", attributes))
        if part.granularity == "lesion" and f is not None:
            for reader in config.readers:
                drawn = read_mask(part.mask, reader, stream(config.seed, "reader", index, reader.name, number))
                if drawn is not None:
                    out.append(
                        Region(
                            Mask.from_array(drawn),
                            part.label,
                            "",
                            part.image,
                            "lesion",
                            reader.name,
                            {"id": attributes["id"]},
                        )
                    )
    return tuple(out)
