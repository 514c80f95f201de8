"""From DICOM headers to cases: group by series, stack slices into volumes, describe each as a case.

One case is one volume, one film, one loop; a 4-D series is one case with one image for each volume. Cases of one
study share `attributes["study"]`, and those of one patient share `patient`.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from vesalius.cases import Affine, Case, Image, Source
from vesalius.errors import BadInputError, VesaliusError
from vesalius.io.dicom.header import Header, Segmentation
from vesalius.io.dicom.pseudonyms import pseudonym
from vesalius.io.dicom.stacking import Slice, Stack, stacks
from vesalius.io.formats.blob import Blob
from vesalius.io.limits import Limits
from vesalius.io.pool.messages import as_error

#: Modalities whose pictures are projections, photographs or loops: their frames are not slices.
PROJECTIONS = frozenset(
    [
        "CR",
        "DX",
        "MG",
        "RG",
        "PX",
        "IO",
        "XA",
        "RF",
        "US",
        "IVUS",
        "ES",
        "XC",
        "OP",
        "GM",
        "SM",
        "DMS",
        "EPS",
        "ECG",
        "OT",
        "SC",
        "BMD",
        "KER",
        "LEN",
        "OPM",
        "OPV",
        "AR",
        "HC",
        "SRF",
    ]
)
_LOOPS = frozenset(["US", "IVUS", "XA", "RF", "ES", "XC", "GM", "DMS"])
_TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"

Refuse = Callable[[str, VesaliusError], None]
_File = TypeVar("_File", Header, Segmentation)


@dataclass(frozen=True, slots=True)
class _Context:
    root: Path | None
    key: bytes
    limits: Limits
    refuse: Refuse


def cases(headers: Iterable[Header], root: Path | None, key: bytes, limits: Limits, refuse: Refuse) -> list[Case]:
    """Cases of all headers, series in the order of their first file.

    Args:
        headers: In the order the files were met.
        root: Folder that image uris are relative to; None for absolute uris.
        key: Key of the pseudonyms.
        limits: Budgets (to compare two files of one UID).
        refuse: Called with the name of each file that is left out, and why.
    """
    context = _Context(root, key, limits, refuse)
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in without_copies(headers, limits, refuse):
        groups[header.series or f"\0{header.item}"].append(header)
    out: list[Case] = []
    for group in groups.values():
        out += _series(group, context)
    return out


def without_copies(found: Iterable[_File], limits: Limits, refuse: Refuse) -> Iterator[_File]:
    """The first file of each SOP Instance UID; others are refused, which says whether they are the same file."""
    seen: dict[str, _File] = {}
    for file in found:
        first = seen.setdefault(file.sop, file) if file.sop else file
        if first is file:
            yield file
            continue
        same = _digest(first, limits) == _digest(file, limits)
        why = f"the same file as {first.item}" if same else f"{first.item} has the same UID and other content"
        fix = "" if same else "find out which of the two is right and remove the other"
        refuse(file.item, BadInputError("SOP Instance UID is used twice", item=file.item, why=why, fix=fix))


def _digest(file: Header | Segmentation, limits: Limits) -> str:
    try:
        with Blob(Path(file.path), file.member, file.item).open(limits) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type] # a BinaryIO reads
    except (OSError, VesaliusError):
        return ""


def _series(headers: list[Header], context: _Context) -> list[Case]:
    parts: dict[Any, list[Header]] = {}
    for n, h in enumerate(headers):
        stackable = not h.multi and h.orientation and h.position and h.modality not in PROJECTIONS and h.samples == 1
        localiser = "LOCALIZER" in h.image_type
        if not stackable or h.orientation is None or localiser:
            parts[n] = [h]
            continue
        cosines = tuple(round(c, 2) + 0.0 for c in h.orientation)
        parts.setdefault((h.rows, h.columns, cosines, h.frame_of_reference), []).append(h)
    volumes = [p for k, p in parts.items() if isinstance(k, tuple)]
    notes: list[str] = []
    if len(volumes) > 1:
        notes.append(f"series mixes orientations, sizes or frames of reference: split into {len(volumes)} parts")
    out: list[Case] = []
    for part_key, part in parts.items():
        head = part[0]
        note = notes if isinstance(part_key, tuple) else ["localiser"] if "LOCALIZER" in head.image_type else []
        try:
            images = _images(part, note, context)
        except VesaliusError as error:
            for h in part:
                context.refuse(h.item, as_error(error, h.item))
            continue
        except Exception as error:  # hostile geometry must not end the run
            for h in part:
                context.refuse(h.item, as_error(error, h.item, "cannot make sense of the series"))
            continue
        out.append(_case(part, images, context))
    return out


def _images(part: list[Header], note: list[str], context: _Context) -> list[Image]:
    head = part[0]
    if len(part) > 1:
        slices = [Slice(n, h.position or (), h.instance, h.phases, h.item) for n, h in enumerate(part)]
        return [
            _image([part[n] for n in s.order], s, None, note, context)
            for s in stacks(
                slices,
                head.orientation or (),
                head.pixel_spacing,
                spacing_between=head.spacing_between,
                thickness=head.thickness,
            )
        ]
    if head.multi and head.frame_positions and head.modality not in _LOOPS:
        return _enhanced(head, note, context)
    stack = None
    if not head.multi and head.position and head.orientation:
        stack = stacks([Slice(0, head.position)], head.orientation, head.pixel_spacing, thickness=head.thickness)[0]
    return [_image([head], stack, None, note, context)]


def _enhanced(head: Header, note: list[str], context: _Context) -> list[Image]:
    """Volumes of a multi-frame object whose frames say where they are."""
    groups: dict[tuple[float, ...], list[int]] = defaultdict(list)
    for n in range(head.frames):
        orientation = head.frame_orientations[n] if head.frame_orientations else head.orientation
        groups[tuple(round(c, 2) + 0.0 for c in orientation or ())].append(n)
    if len(groups) > 1:
        note = [*note, f"frames of {len(groups)} orientations: split"]
    images = []
    for frames in groups.values():
        first = head.frame_orientations[frames[0]] if head.frame_orientations else head.orientation
        if first is None:
            raise BadInputError("frames have positions and no orientation", item=head.item)
        slices = [
            Slice(
                n,
                head.frame_positions[n],
                n,
                tuple((f"phase {i}", v) for i, v in enumerate(head.frame_phases[n])),
                f"{head.item} frame {n}",
            )
            for n in frames
        ]
        found = stacks(
            slices, first, head.pixel_spacing, spacing_between=head.spacing_between, thickness=head.thickness
        )
        images += [_image([head], s, list(s.order), note, context, first) for s in found]
    return images


def _image(
    files: list[Header],
    stack: Stack | None,
    frames: list[int] | None,
    note: list[str],
    context: _Context,
    orientation: tuple[float, ...] | None = None,
) -> Image:
    head = files[0]
    middle = files[len(files) // 2]
    meta: dict[str, Any] = {k: v for k, v in middle.meta.items() if v not in (None, "")}
    faults = [*note, *dict.fromkeys(f for h in files for f in h.faults), *(stack.faults if stack else ())]
    if faults:
        meta["faults"] = faults
    if head.spacing_at == "detector" and head.pixel_spacing:
        meta["spacing_at"] = "detector"
    if head.member:
        meta["members"] = [h.member for h in files]
    elif len(files) > 1:
        folder = Path(head.path).parent
        meta["files"] = [PurePath(os.path.relpath(h.path, folder)).as_posix() for h in files]
    n = len(files) if len(files) > 1 else len(frames) if frames is not None else head.frames
    if frames is not None and frames != list(range(head.frames)):
        meta["frames"] = frames
    # A palette becomes three colours; other pixels keep their number of samples.
    channels = 3 if head.photometric == "PALETTE COLOR" or head.samples == 3 else head.samples
    plane = (head.rows, head.columns, *((channels,) if channels > 1 else ()))
    many = len(files) > 1 or head.multi
    if not many:
        kind = "2d"
    elif stack is not None:
        kind = "video" if stack.moving else "3d"
    else:
        loop = head.modality in _LOOPS or (head.modality in PROJECTIONS and head.sop_class != _TOMOSYNTHESIS)
        kind = "video" if loop or "fps" in meta else "3d"
    orientation = orientation or head.orientation
    return Image(
        uri=_uri(head, context.root),
        root=context.root,
        modality=head.modality,
        view=head.view or (_plane(orientation) if head.modality not in PROJECTIONS else ""),
        kind=kind,  # type: ignore[arg-type] # one of the three literals by construction
        spacing=_spacing(head, stack, kind),
        affine=stack.affine if stack and kind != "video" else None,
        body_part=head.body_part,
        shape=(n, *plane) if many else plane,
        meta=meta,
    )


def _spacing(head: Header, stack: Stack | None, kind: str) -> tuple[float, ...] | None:
    if head.pixel_spacing is None or kind == "video":
        return None
    if kind == "2d":
        return head.pixel_spacing
    gap = stack.gap if stack is not None else head.spacing_between
    if gap is None and (offsets := head.meta.get("offsets")) and len(offsets) > 1:
        gap = abs(offsets[-1] - offsets[0]) / (len(offsets) - 1)
    gap = gap or head.thickness
    return (abs(gap), *head.pixel_spacing) if gap else None


def _uri(head: Header, root: Path | None) -> str:
    path = Path(head.path)
    return str(path.absolute()) if root is None else PurePath(os.path.relpath(path, root)).as_posix()


def _plane(orientation: tuple[float, ...] | None) -> str:
    if orientation is None:
        return ""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = [abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d)]
    return ("SAGITTAL", "CORONAL", "AXIAL")[normal.index(max(normal))]


def _case(part: list[Header], images: list[Image], context: _Context) -> Case:
    head = min(part, key=lambda h: h.sop or h.item)
    what = head.sop or _digest(head, context.limits)
    patient = ""
    if head.patient:
        patient = pseudonym("patient", head.patient, context.key)
    elif head.study:
        patient = pseudonym("study", head.study, context.key)
    attributes: dict[str, str | int | float | bool | None] = dict(head.attributes)
    if "site" in attributes:
        attributes["site"] = pseudonym("site", str(attributes["site"]), context.key)
    faults = dict.fromkeys(fault for image in images for fault in image.meta.get("faults", ()))
    if faults:
        attributes["faults"] = "; ".join(faults)
    for name, uid in (("study", head.study), ("series", head.series)):
        if uid:
            attributes[name] = pseudonym(name, uid, context.key)
    return Case(
        id=pseudonym("dicom", f"{head.series}\0{what}", context.key),
        patient=patient,
        time=head.date or None,
        images=tuple(images),
        attributes=attributes,
        source=Source(),
    )


__all__ = ["PROJECTIONS", "Affine", "cases"]
