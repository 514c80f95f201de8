"""A contact sheet of every kind of study with its annotations drawn.

`python -m docs.phantom_sheet --out docs/explanation/phantom.png`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from vesalius.cases import Box, Case, Image, Mask, Point, Region
from vesalius.sources.phantom.catalogue import STUDIES
from vesalius.sources.phantom.engine import Phantom
from vesalius.sources.phantom.model import Array

TILE = 224
#: Lower and upper value that become black and white, by modality (by range where it is not here).
WINDOWS = {"CT": (-1000.0, 500.0), "PT": (6.0, 0.0), "MR": (0.0, 950.0)}
_LESION, _ORGAN, _TRACK = (255, 70, 60), (70, 200, 255), (120, 255, 120)


def picture(image: Image, mask: Array | None) -> tuple[Array, int | None]:
    """One image as uint8 RGB: volumes by the slice that shows most of `mask` (else a middle one)."""
    a = image.pixels()
    at: int | None = None
    if image.kind != "2d":
        at = a.shape[0] // 2 if mask is None else int(mask.sum((1, 2)).argmax())
        a = a[at]
    a = a.astype(np.float32)
    low, high = WINDOWS.get(image.modality, (0.0, 255.0))
    grey = np.clip((a - low) / (high - low), 0, 1) * 255
    return (np.stack([grey] * 3, -1) if grey.ndim == 2 else grey).astype(np.uint8), at


def tile(case: Case, number: int, *, drawn: bool) -> PillowImage.Image:
    """One image of a case, with lesions' outlines and boxes and two organs' boxes when `drawn`."""
    # Volumes of one grid share the annotations of the first.
    same = {0, number} if case.images[number].kind == "3d" else {number}
    mine = [r for r in case.regions if r.image in same and not r.annotator]
    lesions = [r for r in mine if r.granularity == "lesion" and isinstance(r.geometry, Mask)]
    first = next((r.geometry.to_array() for r in lesions if isinstance(r.geometry, Mask)), None)
    rgb, at = picture(case.images[number], first)
    h, w = rgb.shape[:2]
    k = TILE / w
    out = PillowImage.fromarray(rgb).resize((TILE, round(h * k)), PillowImage.Resampling.BICUBIC)
    if not drawn:
        return out
    draw = ImageDraw.Draw(out)
    boxes = [
        r for r in mine if isinstance(r.geometry, Box) and r.granularity in ("lesion", "organ", "cell", "instrument")
    ]
    organs = [r for r in boxes if r.granularity == "organ"][:3]
    for r in [*organs, *(b for b in boxes if b.granularity != "organ")]:
        b = r.geometry
        if not isinstance(b, Box) or (
            at is not None and b.z0 is not None and b.z1 is not None and not b.z0 <= at < b.z1
        ):
            continue
        colour = _ORGAN if r.granularity == "organ" else _LESION
        draw.rectangle((b.x0 * k, b.y0 * k, b.x1 * k - 1, b.y1 * k - 1), outline=colour)
    for path in _tracks(mine):
        draw.line([(x * k, y * k) for x, y in path], fill=_TRACK)
    for r in lesions:
        if isinstance(r.geometry, Mask):
            m = r.geometry.to_array()
            m = m if at is None else m[at]
            big = np.asarray(PillowImage.fromarray(m).resize(out.size, PillowImage.Resampling.NEAREST))
            inner = big.copy()
            inner[1:-1, 1:-1] &= big[:-2, 1:-1] & big[2:, 1:-1] & big[1:-1, :-2] & big[1:-1, 2:]
            edge = PillowImage.fromarray(((big & ~inner) * 255).astype(np.uint8))
            out.paste((255, 220, 60), mask=edge)
    words = "; ".join(dict.fromkeys(r.phrase for r in lesions)) or "nothing abnormal"
    draw.text((3, 2), f"{case.images[number].modality} {words}"[:44], fill=(120, 255, 120))
    return out


def _tracks(regions: list[Region]) -> list[list[tuple[float, float]]]:
    """Where each tracked cell goes, frame by frame."""
    paths: dict[object, list[tuple[float, float, float]]] = {}
    for r in regions:
        if r.granularity == "cell" and isinstance(r.geometry, Point) and "track" in r.attributes:
            paths.setdefault(r.attributes["track"], []).append((r.geometry.z or 0.0, r.geometry.x, r.geometry.y))
    return [[(x, y) for _, x, y in sorted(path)] for path in paths.values() if len(path) > 1]


def make_sheet(out: Path, seed: int = 2, columns: int = 3) -> None:
    """Draw `columns` cases of every study, each plain and annotated, and save them as one picture.

    Args:
        out: A `.png` or `.jpg` file.
        seed: The phantom's seed.
        columns: Cases of each study.
    """
    rows: list[list[PillowImage.Image]] = []
    for study in STUDIES:
        phantom = Phantom(
            seed=seed, studies={study: 1.0}, size=TILE, size_3d=96, degraded=0.0, difficulty=0.2, lateral=0.4
        )
        row: list[PillowImage.Image] = []
        index = 0
        while len(row) < 2 * columns:
            case = phantom.case(index)
            index += 1
            if not any(r.granularity in ("lesion", "cell") for r in case.regions) and index < 12:
                continue
            number = (index - 1) % len(case.images)
            row += [tile(case, number, drawn=False), tile(case, number, drawn=True)]
        rows.append(row)
    heights = [max(t.height for t in row) for row in rows]
    sheet = PillowImage.new("RGB", (TILE * 2 * columns, sum(heights)))
    y = 0
    for row, height in zip(rows, heights, strict=True):
        for x, t in enumerate(row):
            sheet.paste(t, (x * TILE, y))
        y += height
    out.parent.mkdir(parents=True, exist_ok=True)
    w, h = sheet.size
    small = (
        sheet.resize((w * 5 // 6, h * 5 // 6), PillowImage.Resampling.LANCZOS).quantize(
            256, method=PillowImage.Quantize.FASTOCTREE, dither=PillowImage.Dither.FLOYDSTEINBERG
        )
        if out.suffix == ".png"
        else sheet
    )
    small.save(out, optimize=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Contact sheet of every phantom study with its annotations.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    make_sheet(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
