"""An image's stored values, whatever file holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError, VesaliusError
from vesalius.io.formats.blob import Blob
from vesalius.io.formats.sniff import HEAD, is_raster, sniff
from vesalius.io.limits import DEFAULT, Limits, check_pixels
from vesalius.io.pool.messages import as_error

AnyArray = npt.NDArray[Any]


def read_pixels(image: Image, limits: Limits | None = None) -> AnyArray:
    """Read an image's stored values: no window, no scaling beyond the rescale that the file itself defines.

    DICOM gives modality values (HU stay HU) and RGB for palette and YBR; MONOCHROME1 is not inverted (`display` does).

    Args:
        image: With a `uri`, as `io.read` makes it, or one made by hand from a path (then the whole file is read).
        limits: Budgets, checked from headers before anything is allocated.

    Returns:
        2d `(H, W[, C])`, 3d `(D, H, W[, C])`, video `(T, H, W[, C])`.

    Raises:
        MissingError: The file is gone, or a decoder is not installed.
        BadInputError: The file cannot be read as an image.
        UnsafeInputError: It is over budget.
    """
    if image.array is not None:
        return image.array
    limits = limits or DEFAULT
    path = image.path
    if path is None:
        raise BadInputError("image has neither a uri nor an array")
    name = str(image.uri)
    try:
        array = _read(image, path, name, limits)
    except Exception as error:
        raise as_error(error, name, "cannot read image") from error
    if 0 in array.shape:
        raise BadInputError("image is empty", item=name, why=f"shape {array.shape}")
    return array


def open_files(image: Image, limits: Limits) -> Iterator[tuple[int, BinaryIO, str]]:
    """Each file (or archive member) that an image on disk is made of: its place in the stack, stream, name.

    A stream is closed when the next one is asked for; members of an archive come in the archive's order.

    Raises:
        MissingError: One is gone.
    """
    path, name = image.path, str(image.uri)
    if path is None:
        raise BadInputError("image is not on disk")
    files, members = image.meta.get("files"), image.meta.get("members")
    if files:
        yield from _opened(path, files, name, limits)
    elif members and len(members) > 1:
        yield from _unpacked(path, members, name, limits)
    else:
        blob = _blob(image, path, name)
        with blob.open(limits) as stream:
            yield 0, stream, blob.name


def _blob(image: Image, path: Path, name: str) -> Blob:
    members = image.meta.get("members")
    member = str(image.meta.get("member", "") or (members[0] if members else ""))
    return Blob(path, member, f"{name}!{member}" if member else name)


def _read(image: Image, path: Path, name: str, limits: Limits) -> AnyArray:
    files, members = image.meta.get("files"), image.meta.get("members")
    count = len(files or members or ())
    if files or count > 1:
        return _volume(image, open_files(image, limits), count, name, limits)
    blob = _blob(image, path, name)
    with blob.open(limits) as stream:
        fmt = sniff(stream.read(HEAD), blob, limits)
        stream.seek(0)
        return _one(fmt, stream, blob, image, limits)


def _one(fmt: str, stream: BinaryIO, blob: Blob, image: Image, limits: Limits) -> AnyArray:
    frame = image.frame
    if fmt == "dicom":
        from vesalius.io.dicom.pixels import read_dicom

        frames = image.meta.get("frames")
        array = read_dicom(stream, blob.name, limits, frames, keep_frames=image.kind != "2d")
        return array if frame is None else _pick(array, frame, blob.name)
    if fmt == "raster":
        from vesalius.io.formats.raster import read_raster

        return read_raster(stream, blob.name, limits, frame)
    if fmt == "nifti":
        from vesalius.io.formats.nifti import read_nifti

        if not image.meta.get("pair"):
            return read_nifti(stream, blob.name, limits, frame)
        from vesalius.io.formats.pairs import voxels_of

        with voxels_of(blob).open(limits) as voxels:
            return read_nifti(stream, blob.name, limits, frame, voxels=voxels)
    if fmt in ("npy", "npz"):
        from vesalius.io.formats.arrays import read_array

        return read_array(stream, blob.name, limits, key=str(image.meta.get("key", "")), frame=frame)
    if fmt == "video":
        from vesalius.io.formats.video import read_video

        return read_video(stream, blob.name, limits, step=int(image.meta.get("step", 1)))
    raise BadInputError(
        "cannot read image", item=blob.name, why="it is an archive", fix="read it with vesalius.io.read"
    )


def _pick(array: AnyArray, frame: int, name: str) -> AnyArray:
    if not 0 <= frame < len(array):
        raise BadInputError("image has fewer frames than asked for", item=name, why=f"frame {frame} of {len(array)}")
    picked: AnyArray = array[frame]
    return picked


def _opened(path: Path, files: list[str], name: str, limits: Limits) -> Iterator[tuple[int, BinaryIO, str]]:
    for n, file in enumerate(files):
        where = path.parent / file
        label = str(Path(name).parent / file)
        try:
            stream = Blob(where, "", label).open(limits)
        except FileNotFoundError as error:
            raise MissingError("a slice's file is gone", item=label, fix="read the folder again") from error
        with stream:
            yield n, stream, label


def _unpacked(path: Path, members: list[str], name: str, limits: Limits) -> Iterator[tuple[int, BinaryIO, str]]:
    import io

    from vesalius.io.formats.members import reading

    place = {member: n for n, member in enumerate(members)}
    with reading(path, limits, name) as reader:
        for member, data in reader.read(members, name):
            yield place[member], io.BytesIO(data), f"{name}!{member}"


def _volume(image: Image, slices: Iterator[tuple[int, BinaryIO, str]], n: int, name: str, limits: Limits) -> AnyArray:
    """Slices of a DICOM series, or frames in picture files, as one array; its type grows where a slice needs it to."""
    out: AnyArray | None = None
    for place, stream, label in slices:
        plane = _plane(stream, label, limits)
        if out is None:
            check_pixels((n, *plane.shape), plane.dtype.itemsize, limits, name)
            out = np.empty((n, *plane.shape), plane.dtype)
        if plane.shape != out.shape[1:]:
            raise BadInputError("slices differ in size", item=label, why=f"{plane.shape} among {out.shape[1:]}")
        if not np.can_cast(plane.dtype, out.dtype):
            wider = np.result_type(plane.dtype, out.dtype)
            # float32 keeps what scanners store; numpy would go to float64 for int32 and float32.
            out = out.astype(np.float32 if wider == np.float64 and plane.dtype != np.float64 else wider)
        out[place] = plane
    if out is None:
        raise VesaliusError("series has no slice", item=name)
    return out if image.frame is None else _pick(out, image.frame, name)


def _plane(stream: BinaryIO, label: str, limits: Limits) -> AnyArray:
    """One slice or frame: a DICOM file, or a picture by its own first bytes."""
    if is_raster(stream.read(HEAD)):
        from vesalius.io.formats.raster import read_raster

        stream.seek(0)
        return read_raster(stream, label, limits, None)
    from vesalius.io.dicom.pixels import read_dicom

    stream.seek(0)
    return read_dicom(stream, label, limits)


def with_pixels(image: Image, limits: Limits | None = None) -> Image:
    """The image with its stored values in memory: a function to give to a `DecodePool`."""
    return dataclasses.replace(image, array=read_pixels(image, limits))
