"""Pascal VOC: one XML file of boxes for each image.

VOC counts pixels from 1 and names the last pixel of a box, so `xmin..xmax` is `[xmin - 1, xmax)` here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vesalius.cases import Box, Case, CaseSet, Mask, Point, Polygon, Region
from vesalius.errors import VesaliusError
from vesalius.sources.layouts.common import image_of, pick, source_of, split_name
from vesalius.sources.layouts.files import FileIndex, Refused, read_xml, stem_of
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.reports import Lost
from vesalius.sources.layouts.tabular import reason
from vesalius.sources.layouts.writers import picture

_FLAGS = ("difficult", "truncated", "occluded")


def read(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case an XML file; images in `JPEGImages`, `images` or beside it, parts in `ImageSets/Main`."""
    index = FileIndex(folder, ("JPEGImages", "images", "."), (".jpg", ".png", ".jpeg"))
    origin = float(layout.options.get("origin", "1"))
    split: dict[str, str] = {}
    for file in sorted(folder.glob("ImageSets/Main/*.txt")):
        if part := split_name(file.stem) if file.stem in {"train", "val", "test"} else "":
            split |= {
                line.split()[0]: part for line in file.read_text("utf-8", errors="replace").splitlines() if line.split()
            }
    for file in pick(folder, "Annotations/*.xml", "*.xml", "*/*.xml"):
        try:
            root = read_xml(file)
            if root.tag != "annotation":
                refused.append((file.name, f"its root is <{root.tag[:40]}>, not <annotation>"))
                continue
            path = _image(index, folder, file, (root.findtext("filename") or "").strip())
        except VesaliusError as error:
            refused.append((file.name, reason(error)))
            continue
        regions = []
        for number, thing in enumerate(root.iter("object"), 1):
            try:
                regions.append(_region(thing, origin))
            except (VesaliusError, ValueError, OverflowError) as error:
                refused.append((f"{file.name} object {number}", reason(error)))
        yield Case(
            id=f"{layout.name}/{_key(folder, file)}",
            images=(image_of(layout, path),),
            regions=tuple(regions),
            source=source_of(layout, _key(folder, file), split.get(file.stem, "") or split_name(file.parent.name)),
        )


def _key(folder: Path, file: Path) -> str:
    return file.stem if file.parent in {folder, folder / "Annotations"} else f"{file.parent.name}/{file.stem}"


def _image(index: FileIndex, folder: Path, file: Path, name: str) -> Path:
    """The image that the file names; a name that is missing or wrong gives way to the file's own stem."""
    if file.parent not in {folder, folder / "Annotations"} and name and "/" not in name:
        # Exports that keep each image beside its XML file, with the same names in every part.
        try:
            return index.find(f"{file.parent.name}/{name}")
        except VesaliusError:
            pass
    try:
        return index.find(name or stem_of(file.name))
    except VesaliusError:
        if "/" in name or "\\" in name or not name:
            raise
        return index.find(stem_of(file.name))


def _region(thing: Element, origin: float) -> Region:
    label = (thing.findtext("name") or "").strip()
    box = thing.find("bndbox")
    if not label or box is None:
        raise ValueError("the object has no name or no bndbox")
    x0, y0, x1, y1 = (float(box.findtext(tag) or "nan") for tag in ("xmin", "ymin", "xmax", "ymax"))
    flags = {flag: 1 for flag in _FLAGS if (thing.findtext(flag) or "0").strip() not in {"0", "false", "False"}}
    return Region(Box(x0 - origin, y0 - origin, x1, y1), label, attributes=dict(flags))


def write(cases: CaseSet, out: Path, lost: Lost) -> int:
    """Write `JPEGImages`, `Annotations` and `ImageSets/Main`; outlines and masks become their boxes.

    Box edges are rounded to whole pixels, as the layout has no others.

    Returns:
        Cases written.
    """
    parts: dict[str, list[str]] = {}
    (out / "Annotations").mkdir(parents=True, exist_ok=True)
    written = 0
    for case in cases:
        lost.case(case, holds=("split", "regions", "region_attributes"), geometry=("box", "polygon", "mask"), images=1)
        saved = picture(case, out / "JPEGImages", lost)
        if saved is None:
            continue
        written += 1
        name, (height, width) = saved
        root = Element("annotation")
        for tag, text in (("folder", "JPEGImages"), ("filename", name)):
            SubElement(root, tag).text = text
        size = SubElement(root, "size")
        for tag, number in (("width", width), ("height", height)):
            SubElement(size, tag).text = str(number)
        for region in case.regions:
            if region.image or isinstance(region.geometry, Point):
                continue
            _object(root, region, region.geometry, lost)
        indent(root)
        (out / "Annotations" / f"{stem_of(name)}.xml").write_bytes(tostring(root, encoding="utf-8"))
        if split_name(case.source.split):
            parts.setdefault(split_name(case.source.split), []).append(stem_of(name))
    for split, stems in parts.items():
        file = out / "ImageSets" / "Main" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return written


def _object(root: Element, region: Region, geometry: Box | Polygon | Mask, lost: Lost) -> None:
    box = geometry if isinstance(geometry, Box) else geometry.box()
    if box is None or (isinstance(geometry, Mask) and len(geometry.shape) != 2):
        lost.add("masks", "they are empty or of a volume")
        return
    if not isinstance(geometry, Box):
        lost.add("outlines", "the layout holds boxes; the box around each was written")
    edges = (box.x0 + 1, box.y0 + 1, box.x1, box.y1)
    if any(e != round(e) for e in edges):
        lost.add("parts of pixels", "box edges were rounded")
    thing = SubElement(root, "object")
    SubElement(thing, "name").text = region.label
    for flag in _FLAGS:
        SubElement(thing, flag).text = str(int(bool(region.attributes.get(flag))))
    if over := [k for k in region.attributes if k not in _FLAGS]:
        lost.add("region attributes", "the layout has no place for it", len(over))
    corners = SubElement(thing, "bndbox")
    for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True):
        SubElement(corners, tag).text = str(round(edge))
