"""Read a DICOM SEG back into the grid of the image that it belongs to, by position in the patient.

Frames of a SEG may come in any order, be left out where they are empty, and run along other axes than the image's
array: every pixel goes where its position says. Where the image has no affine (uneven slices, a film), a frame goes to
the slice that it refers to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Affine, Image, Region
from vesalius.cases.geometry import Mask
from vesalius.errors import BadInputError
from vesalius.io.dicom.parse import load, quiet
from vesalius.io.dicom.values import clean, first_item, nested
from vesalius.io.formats.blob import Blob
from vesalius.io.limits import DEFAULT, Limits, check_pixels
from vesalius.io.pixels import open_files
from vesalius.io.pool.messages import as_error

if TYPE_CHECKING:
    from pydicom import Dataset

AnyArray = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
#: Pixels that a frame may lie off the image's grid.
_OFF_GRID = 0.05


def read_seg(path: str | os.PathLike[str], image: Image, *, limits: Limits | None = None) -> list[Region]:
    """Regions of an image from a DICOM SEG (binary, or fractional at one half).

    Args:
        path: The file.
        image: The image that it segments; its `shape` and `affine` are used.
        limits: Budgets.

    Returns:
        One region with a `Mask` of the image's shape for each segment, in the order of the segment numbers.

    Raises:
        BadInputError: Not a SEG, damaged, or of another grid than the image's.
        UnsafeInputError: Over budget.
    """
    where = Path(path)
    return read_seg_blob(Blob(where, item=where.name), image, limits or DEFAULT)


def read_seg_blob(blob: Blob, image: Image, limits: Limits) -> list[Region]:
    """As `read_seg`, of a file or of an archive's member."""
    with blob.open(limits) as stream, quiet():
        ds, _ = load(stream, blob.name, limits, pixels=True)
        try:
            return _regions(ds, image, blob.name, limits)
        except Exception as error:  # a stranger's header fails in a hundred ways
            raise as_error(error, blob.name, "cannot read DICOM SEG") from error


def _regions(ds: Dataset, image: Image, item: str, limits: Limits) -> list[Region]:
    if ds.get("SOPClassUID") != SEGMENTATION:
        raise BadInputError("not a DICOM SEG", item=item, fix="give a file whose SOP class is Segmentation Storage")
    frames = int(ds.get("NumberOfFrames") or 1)
    check_pixels((frames, int(ds.Rows), int(ds.Columns)), 1, limits, item)
    labels = {int(s.SegmentNumber): clean(str(s.get("SegmentLabel", ""))) for s in ds.SegmentSequence}
    shape = tuple((image.shape or image.pixels().shape)[: 2 if image.kind == "2d" else 3])
    check_pixels((len(labels), *shape), 1, limits, item)
    masks = {number: np.zeros(shape if len(shape) == 3 else (1, *shape), bool) for number in labels}
    order = _order(image, limits) if image.affine is None else {}
    for pixels, frame in zip(_pixels(ds, frames), _frames(ds, frames), strict=True):
        if frame.segment not in masks:
            raise BadInputError("a frame's segment is not described", item=item, why=f"segment {frame.segment}")
        mask = masks[frame.segment]
        if image.affine is not None and frame.geometry is not None:
            _by_position(mask, pixels, frame.geometry, image.affine, item)
        else:
            _by_reference(mask, pixels, order.get(frame.source), item)
    return [
        Region(Mask.from_array(masks[n].reshape(shape)), label=labels[n], annotator="DICOM SEG") for n in sorted(masks)
    ]


def _pixels(ds: Dataset, frames: int) -> BoolArray:
    """`(F, H, W)`: fractional segments are taken at half of their largest value."""
    array = np.asarray(ds.pixel_array).reshape(frames, int(ds.Rows), int(ds.Columns))
    if ds.get("SegmentationType") == "FRACTIONAL":
        return array > int(ds.get("MaximumFractionalValue") or 255) / 2
    return array > 0


@dataclass(frozen=True, slots=True)
class _Frame:
    """What one frame says of itself.

    Args:
        segment: Segment number.
        geometry: `(3, 3)` position, step down a column, step along a row, in LPS mm; None where it has no position.
        source: SOP instance UID and frame number (from 1) of the image it was made from, where it says so.
    """

    segment: int
    geometry: FloatArray | None
    source: tuple[str, int]


def _frames(ds: Dataset, frames: int) -> Iterator[_Frame]:
    shared = first_item(ds, "SharedFunctionalGroupsSequence")
    groups = ds.PerFrameFunctionalGroupsSequence
    if len(groups) != frames:
        raise BadInputError("SEG describes another number of frames than it holds", why=f"{len(groups)} of {frames}")
    for group in groups:
        number = _fact(group, shared, "SegmentIdentificationSequence", "ReferencedSegmentNumber", 1)
        position = _fact(group, shared, "PlanePositionSequence", "ImagePositionPatient", 3)
        cosines = _fact(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        spacing = _fact(group, shared, "PixelMeasuresSequence", "PixelSpacing", 2)
        if number is None:
            raise BadInputError("a frame of the SEG names no segment")
        geometry = None
        if position is not None and cosines is not None and spacing is not None:
            down, along = np.asarray(cosines[3:]) * spacing[0], np.asarray(cosines[:3]) * spacing[1]
            geometry = np.stack([np.asarray(position), down, along])
        yield _Frame(int(number[0]), geometry, _source(group))


def _source(group: Any) -> tuple[str, int]:
    derivation = first_item(group, "DerivationImageSequence")
    source = None if derivation is None else first_item(derivation, "SourceImageSequence")
    if source is None:
        return "", 1
    number = source.get("ReferencedFrameNumber")
    return str(source.get("ReferencedSOPInstanceUID", "")), int(number) if number is not None else 1


def _order(image: Image, limits: Limits) -> dict[tuple[str, int], int]:
    """SOP instance UID and frame number to slice of the image, from the headers of its files."""
    if image.meta.get("format") != "dicom" or image.path is None:
        return {}
    out: dict[tuple[str, int], int] = {}
    for place, stream, item in open_files(image, limits):
        ds, _ = load(stream, item, limits, pixels=False, tags=["SOPInstanceUID", "NumberOfFrames"])
        if image.meta.get("files") or len(image.meta.get("members") or ()) > 1:
            out[str(ds.SOPInstanceUID), 1] = place
        else:
            chosen = image.meta.get("frames") or range(int(ds.get("NumberOfFrames") or 1))
            out |= {(str(ds.SOPInstanceUID), int(f) + 1): k for k, f in enumerate(chosen)}
    return out


def _fact(group: Any, shared: Any, sequence: str, keyword: str, n: int) -> tuple[float, ...] | None:
    """Numbers of a frame, or those that all frames share."""
    own = nested(group, sequence, keyword, n)
    return own if own is not None or shared is None else nested(shared, sequence, keyword, n)


def _by_reference(mask: BoolArray, pixels: BoolArray, place: int | None, item: str) -> None:
    """Put a frame on the slice it was made from, in place."""
    if mask.shape[1:] != pixels.shape or (place is None and len(mask) > 1):
        raise BadInputError(
            "SEG and image cannot be brought together",
            item=item,
            why=f"there is no position, a frame is {pixels.shape} where the image is {mask.shape}"
            + ("" if place is not None else ", and it refers to no slice of it"),
            fix="give the image that was segmented",
        )
    mask[place or 0] |= pixels


def _by_position(mask: BoolArray, pixels: BoolArray, geometry: FloatArray, affine: Affine, item: str) -> None:
    """Set the image's voxels at the positions of the frame's pixels, in place."""
    position, steps = geometry[0], geometry[1:]
    origin = affine.to_index(position)
    at = origin + np.argwhere(pixels) @ (affine.to_index(position + steps) - origin)
    index = np.rint(at).astype(np.int64)
    if np.abs(at - index).max(initial=0.0) > _OFF_GRID or (index < 0).any() or (index >= mask.shape).any():
        raise BadInputError(
            "SEG lies on another grid than the image",
            item=item,
            why="its pixels do not fall on the image's voxels",
            fix="give the image that was segmented",
        )
    mask[tuple(index.T)] = True
