"""COCO: boxes, polygons and run-length masks in one JSON file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases import Box, Case, CaseSet, Geometry, Mask, Point, Polygon, Region, Report
from vesalius.errors import BadInputError, VesaliusError
from vesalius.sources.layouts.common import image_of, pick, source_of, split_name
from vesalius.sources.layouts.files import FileIndex, Refused, read_json, stem_of
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.reports import Lost
from vesalius.sources.layouts.tabular import reason
from vesalius.sources.layouts.writers import picture

#: Largest mask built from run lengths, in pixels.
MAX_PIXELS = 2**28


def read(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an image, with a region for each annotation: its outline or mask where it has one, else its box."""
    index = FileIndex(folder, ("images", "train*", "val*", "test*", "."))
    for file in pick(folder, "*.json", "annotations/*.json", "*/*.json"):
        try:
            data = read_json(file)
        except VesaliusError as error:
            refused.append((file.name, reason(error)))
            continue
        if not isinstance(data, dict) or not isinstance(data.get("images"), list):
            refused.append((file.name, "it has no list of images"))
            continue
        split = split_name(file.stem) or split_name(file.parent.name)
        yield from _read_file(layout, file.name, data, split, index, refused)


def _read_file(
    layout: Layout, name: str, data: Mapping[str, Any], split: str, index: FileIndex, refused: Refused
) -> Iterator[Case]:
    classes = {c.get("id"): str(c.get("name", "")) for c in _objects(data, "categories", name, refused)}
    marks: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {}
    for number, mark in enumerate(_objects(data, "annotations", name, refused)):
        marks.setdefault(mark.get("image_id"), []).append((f"{name} annotation {mark.get('id', number)}", mark))
    for number, entry in enumerate(_objects(data, "images", name, refused)):
        own = marks.pop(entry.get("id"), [])
        try:
            path = index.find(str(entry.get("file_name", "")))
            size = (int(entry["height"]), int(entry["width"])) if "height" in entry and "width" in entry else None
        except (VesaliusError, TypeError, ValueError, OverflowError) as error:
            refused.append((f"{name} image {entry.get('id', number)}", reason(error)))
            continue
        regions, said = [], []
        for where, mark in own:
            try:
                if "caption" in mark:
                    said.append(str(mark["caption"]))
                    continue
                regions.append(_region(mark, classes, size))
            except (VesaliusError, TypeError, ValueError, OverflowError, KeyError, IndexError) as error:
                refused.append((where, reason(error)))
        key = path.relative_to(index.folder).with_name(stem_of(path.name)).as_posix()
        yield Case(
            id=f"{layout.name}/{key}",
            images=(image_of(layout, path),),
            regions=tuple(regions),
            report=Report(findings="\n".join(said)) if said else None,
            source=source_of(layout, str(entry["file_name"]), split),
        )
    for image_id, own in marks.items():
        refused += [(where, f"there is no image {image_id!r}") for where, _ in own]


def _objects(data: Mapping[str, Any], key: str, name: str, refused: Refused) -> Iterator[Mapping[str, Any]]:
    values = data.get(key, [])
    for number, value in enumerate(values if isinstance(values, list) else []):
        if not isinstance(value, dict):
            refused.append((f"{name} {key}[{number}]", "it is not an object"))
        elif not all(isinstance(value.get(k), str | int | None) for k in ("id", "image_id", "category_id")):
            refused.append((f"{name} {key}[{number}]", "its id is neither a number nor a text"))
        else:
            yield value


def _region(mark: Mapping[str, Any], classes: Mapping[Any, str], size: tuple[int, int] | None) -> Region:
    if mark.get("category_id") not in classes:
        raise BadInputError("no such category", item=repr(mark.get("category_id")))
    crowd: dict[str, str | int | float | bool | None] = {"iscrowd": 1} if mark.get("iscrowd") else {}
    return Region(_geometry(mark, size), classes[mark["category_id"]], attributes=crowd)


def _geometry(mark: Mapping[str, Any], size: tuple[int, int] | None) -> Geometry:
    outline = mark.get("segmentation")
    if isinstance(outline, dict):
        return mask_of_rle(outline)
    if isinstance(outline, list) and outline:
        polygons = [_polygon(p) for p in outline]
        if len(polygons) == 1:
            return polygons[0]
        if size is None or size[0] * size[1] > MAX_PIXELS:
            raise BadInputError("an outline in several parts needs the image's size", item=str(size))
        # Parts are joined, not cut out of each other.
        whole = np.zeros(size, bool)
        for polygon in polygons:
            whole |= polygon.rasterise(*size).to_array()
        return Mask.from_array(whole)
    x, y, w, h = (float(v) for v in mark["bbox"])
    return Box.from_xywh(x, y, w, h)


def _polygon(flat: Sequence[float]) -> Polygon:
    if not isinstance(flat, list) or len(flat) % 2:
        raise BadInputError("polygon is not a list of pairs of coordinates", item=str(flat)[:60])
    return Polygon(tuple(zip(flat[::2], flat[1::2], strict=True)))


def mask_of_rle(rle: Mapping[str, Any]) -> Mask:
    """COCO run lengths (a list, or packed in a string) as a mask.

    COCO counts down the columns; `Mask` counts along the rows. The packed form holds six bits a character from `0` on:
    five of the number, least first, and one that says that more follow; from the fourth run on, each is stored as the
    difference to the run before the last.

    Raises:
        BadInputError: The runs do not fill the image, or it is larger than `MAX_PIXELS`.
    """
    height, width = (int(n) for n in rle["size"])
    if height < 0 or width < 0 or height * width > MAX_PIXELS:
        raise BadInputError("mask is too large", item=f"{height} x {width}", why=f"at most {MAX_PIXELS} pixels")
    counts = rle["counts"]
    runs = _unpack(counts) if isinstance(counts, str) else [int(n) for n in counts]
    if any(n < 0 for n in runs) or sum(runs) != height * width:
        raise BadInputError("mask run lengths do not cover the image", item=f"{height} x {width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return Mask.from_array(flat.reshape((width, height)).T)


def rle_of_mask(mask: Mask) -> dict[str, Any]:
    """A 2-d mask as COCO run lengths (the list form)."""
    turned = Mask.from_array(mask.to_array().T)
    return {"size": list(mask.shape), "counts": list(turned.runs)}


def _unpack(text: str) -> list[int]:
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text) or shift > 60:
                raise BadInputError("mask string is cut off")
            bits = ord(text[at]) - 48
            if not 0 <= bits < 64:
                raise BadInputError("mask string has a strange character", item=repr(text[at]))
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            at, shift = at + 1, shift + 5
            if not more and bits & 16:
                value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
    return runs


def write(cases: CaseSet, out: Path, lost: Lost) -> int:
    """Write `OUT/images/` and `OUT/annotations/NAME.json`, one file a split (`instances` where there is none).

    Returns:
        Cases written.
    """
    parts: dict[str, dict[str, Any]] = {}
    numbers: dict[str, int] = {}
    ids = itertools.count(1)
    written = 0
    for case in cases:
        lost.case(case, holds=("split", "regions"), geometry=("box", "polygon", "mask"), images=1)
        saved = picture(case, out / "images", lost)
        if saved is None:
            continue
        written += 1
        name, (height, width) = saved
        part = parts.setdefault(case.source.split, {"images": [], "annotations": [], "categories": []})
        image_id = written
        part["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        for region in case.regions:
            if region.image or isinstance(region.geometry, Point):
                continue
            mark = _mark(region.geometry)
            if mark is None:
                lost.add("regions of volumes", "the layout holds pictures")
                continue
            number = numbers.setdefault(region.label, len(numbers) + 1)
            crowd = int(bool(region.attributes.get("iscrowd")))
            part["annotations"].append(
                {"id": next(ids), "image_id": image_id, "category_id": number, "iscrowd": crowd, **mark}
            )
    folder = out / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for split, part in parts.items():
        part["categories"] = [{"id": n, "name": label} for label, n in numbers.items()]
        file = folder / f"instances{'_' + split if split_name(split) else ''}.json"
        file.write_text(json.dumps(part, ensure_ascii=False), encoding="utf-8")
    return written


def _mark(geometry: Box | Polygon | Mask) -> dict[str, Any] | None:
    if isinstance(geometry, Mask):
        if len(geometry.shape) != 2:
            return None
        box = geometry.box() or Box(0, 0, 0, 0)
        outline: dict[str, Any] = {"segmentation": rle_of_mask(geometry), "area": geometry.area}
    elif isinstance(geometry, Polygon):
        box = geometry.box()
        outline = {"segmentation": [[v for p in geometry.points for v in p]], "area": geometry.area}
    else:
        box, outline = geometry, {"area": geometry.area}
    return {"bbox": [box.x0, box.y0, box.width, box.height], **outline}
