"""YOLO: one text file an image, a class number and a box or polygon in shares of the image's size on each line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vesalius.cases import Box, Case, Geometry, Polygon, Region
from vesalius.errors import BadInputError, VesaliusError
from vesalius.sources.layouts.common import image_of, source_of, split_name
from vesalius.sources.layouts.files import Refused, inside, is_image, stem_of, walk
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.masks import picture_size
from vesalius.sources.layouts.tabular import reason

_MAX_YAML = 2**20


def read(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an image; an image without a text file has no regions."""
    names = class_names(folder, refused)
    images = [p for p in walk(folder) if is_image(p.name)]
    texts = {p.relative_to(folder).with_suffix(""): p for p in walk(folder) if p.suffix == ".txt"}
    used: set[Path] = set()
    if not images:
        raise BadInputError("cannot read folder", item=str(folder), why="it holds no images")
    for path in images:
        place = path.relative_to(folder)
        try:
            inside(folder, place.as_posix())
        except VesaliusError as error:
            refused.append((place.as_posix(), reason(error)))
            continue
        parts = list(place.parts)
        if "images" in parts:
            # The last `images` folder has its twin in `labels`.
            at = len(parts) - 1 - parts[::-1].index("images")
            parts[at] = "labels"
        key = Path(*parts[:-1], stem_of(path.name))
        text = texts.get(key)
        regions: tuple[Region, ...] = ()
        if text is not None and not text.is_symlink():
            used.add(text)
            try:
                regions = tuple(_regions(text, picture_size(path), names, refused))
            except VesaliusError as error:
                refused.append((place.as_posix(), reason(error)))
                continue
        split = next((s for p in place.parts[:-1] if (s := split_name(p))), "")
        name = place.with_name(stem_of(path.name)).as_posix()
        yield Case(
            id=f"{layout.name}/{name}",
            images=(image_of(layout, path),),
            regions=regions,
            source=source_of(layout, name, split),
        )
    for path in texts.values():
        if path not in used and "labels" in path.relative_to(folder).parts:
            refused.append((path.relative_to(folder).as_posix(), "there is no image for it"))


def _regions(file: Path, size: tuple[int, int], names: dict[int, str], refused: Refused) -> Iterator[Region]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            first, *rest = line.split()
            values = [float(v) for v in rest]
            label = names.get(int(first), first) if names else first
            if names and int(first) not in names:
                raise ValueError(f"class {first} has no name")
            geometry, score = _geometry(values, *size)
            yield Region(geometry, label, attributes={} if score is None else {"score": score})
        except (ValueError, VesaliusError) as error:
            refused.append((f"{file.name}:{number}", reason(error)))


def _geometry(values: list[float], height: int, width: int) -> tuple[Geometry, float | None]:
    if len(values) in (4, 5):
        x, y, w, h = values[:4]
        if not all(-0.01 <= v <= 1.01 for v in values[:4]):
            raise ValueError(f"{values[:4]} are not shares of the image's size")
        box = Box((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return box, values[4] if len(values) == 5 else None
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers are neither a box nor a polygon")
    if not all(-0.01 <= v <= 1.01 for v in values):
        raise ValueError("the corners are not shares of the image's size")
    return Polygon(tuple((x * width, y * height) for x, y in zip(values[::2], values[1::2], strict=True))), None


def class_names(folder: Path, refused: Refused) -> dict[int, str]:
    """Names of the classes from `classes.txt` or the `names` of a YAML file; nothing else of the YAML is understood."""
    for file in sorted(folder.glob("classes.txt")):
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        return {n: line.strip() for n, line in enumerate(lines) if line.strip()}
    for file in [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*.yml"))]:
        if file.stat().st_size > _MAX_YAML:
            refused.append((file.name, f"it is over {_MAX_YAML} bytes"))
            continue
        if names := _yaml_names(file.read_text(encoding="utf-8-sig", errors="replace")):
            return names
        refused.append((file.name, "it has no `names` that could be read, so classes are called by number"))
    return {}


def _yaml_names(text: str) -> dict[int, str]:
    match = re.search(r"^names[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    if not match:
        return {}
    inline = re.sub(r"\s+#.*$", "", match[1]).strip()
    rest = text[match.end() :]
    if inline.startswith(("[", "{")):
        body = (inline + rest).partition("]" if inline[0] == "[" else "}")[0][1:]
        items = [i.strip() for i in re.findall(r"""(?:'[^']*'|"[^"]*"|[^,'"])+""", body) if i.strip()]
    else:
        items = []
        for line in rest.splitlines():
            if line.strip() and not re.match(r"[ \t]|-", line):
                break
            if entry := line.split(" #")[0].strip():
                items.append(entry)
    found: dict[int, str] = {}
    for number, item in enumerate(items):
        keyed = re.fullmatch(r"""['"]?(\d+)['"]?\s*:\s*(.+)""", item)
        value = keyed[2] if keyed else item.removeprefix("-").strip()
        found[int(keyed[1]) if keyed else number] = value.strip().strip("'\"")
    return found
