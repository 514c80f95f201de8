"""What is wrong with a case set: unreadable lines, repeated ids, missing or changed images, patients on two sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from vesalius.cases.caseset import CaseSet
from vesalius.cases.geometry import Box, Mask, Point, Polygon
from vesalius.cases.record import Case
from vesalius.errors import VesaliusError


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        case: Id of the case, or the file and line of a record that could not be read.
        what: What is wrong and what it means.
        severity: `error`: the case cannot be used as it is; `warning`: worth a look.
    """

    case: str
    what: str
    severity: str = "error"

    def to_dict(self) -> dict[str, str]:
        """Plain data."""
        return asdict(self)


def schema() -> dict[str, Any]:
    """The published JSON schema of a record."""
    loaded: dict[str, Any] = json.loads(resources.files("vesalius.cases").joinpath("schema.json").read_text("utf-8"))
    return loaded


def validate(cases: CaseSet, *, pixels: bool = False) -> Iterator[Fault]:
    """Everything wrong with a set, found in one pass.

    Args:
        cases: The set.
        pixels: Also read every image and compare its shape and hash with the record.
    """
    ids: set[str] = set()
    sides: dict[str, set[str]] = {}
    priors: list[tuple[str, str]] = []
    iterator = iter(cases)
    while True:
        try:
            case = next(iterator)
        except StopIteration:
            break
        except VesaliusError as error:
            # The rest of a stream cannot be trusted after a line that is no record.
            yield Fault(error.item or "?", str(error))
            break
        if case.id in ids:
            yield Fault(case.id, "two cases have this id")
        ids.add(case.id)
        if case.source.split:
            sides.setdefault(case.group, set()).add(case.source.split)
        if case.prior:
            priors.append((case.id, case.prior))
        yield from _images(case, pixels)
        yield from _regions(case)
    for group, found in sorted(sides.items()):
        if len(found) > 1:
            yield Fault(group, f"this patient is in {len(found)} splits ({', '.join(sorted(found))})", "warning")
    for case_id, prior in priors:
        if prior not in ids:
            yield Fault(case_id, f"its prior {prior} is not in the set", "warning")


def _images(case: Case, pixels: bool) -> Iterator[Fault]:
    if not case.images and not (case.report or case.questions):
        yield Fault(case.id, "no image, report or question", "warning")
    for n, image in enumerate(case.images):
        path = image.path
        if path is not None and not path.exists():
            yield Fault(case.id, f"image {n}: there is no file {path}")
            continue
        if not image.modality:
            yield Fault(case.id, f"image {n}: modality is not known", "warning")
        if not pixels:
            continue
        try:
            array = image.pixels()
        except VesaliusError as error:
            yield Fault(case.id, f"image {n}: {error}")
            continue
        if image.shape is not None and tuple(image.shape) != array.shape:
            yield Fault(case.id, f"image {n}: shape {array.shape}, the record says {tuple(image.shape)}")
        if image.sha256 and path is not None and path.is_file():
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != image.sha256:
                    yield Fault(case.id, f"image {n}: the file is not the one the record names (SHA-256 differs)")


def _regions(case: Case) -> Iterator[Fault]:
    for n, region in enumerate(case.regions):
        shape = case.images[region.image].shape if case.images else None
        if shape is None:
            continue
        kind = case.images[region.image].kind
        height, width = shape[:2] if kind == "2d" else shape[1:3]
        depth = 1 if kind == "2d" else shape[0]
        g = region.geometry
        if isinstance(g, Mask):
            spatial = shape[:2] if kind == "2d" else shape[:3]
            if tuple(g.shape) not in (tuple(spatial), (height, width)):
                yield Fault(case.id, f"region {n}: mask of shape {g.shape} on an image of shape {tuple(shape)}")
            continue
        box = g if isinstance(g, Box) else g.box() if isinstance(g, Polygon) else None
        if isinstance(g, Point):
            outside = not (0 <= g.x <= width and 0 <= g.y <= height)
        else:
            outside = box is not None and (box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height)
        if outside:
            yield Fault(case.id, f"region {n}: reaches outside its {width} x {height} image", "warning")
        z0, z1 = (g.z0, g.z1) if isinstance(g, Box) else (g.z, g.z)
        if z0 is not None and z1 is not None and (z0 < 0 or z1 > depth):
            yield Fault(case.id, f"region {n}: reaches outside the {depth} slices of its image", "warning")
