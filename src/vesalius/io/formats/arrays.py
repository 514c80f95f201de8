"""`.npy` and `.npz` without pickles, shape and type checked before a value is read."""

from __future__ import annotations

import io
import zipfile
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.io.formats.stream import size_of
from vesalius.io.limits import Limits, check_inflated, check_pixels

AnyArray = npt.NDArray[Any]

#: Names that say which array of an `.npz` is the picture.
IMAGE_KEYS = ("image", "img", "volume", "video", "pixels", "data", "arr_0", "x")
_CHANNELS = (1, 3, 4)


def scan_array(stream: BinaryIO, item: str, limits: Limits) -> dict[str, Any]:
    """What the header says, as fields of `Image`.

    A last axis of 1, 3 or 4 counts as channels; a first one does when the last does not (`meta["axes"]` says so).

    Raises:
        BadInputError: Not an array of numbers that can be a picture.
        UnsafeInputError: Over budget.
    """
    key = ""
    if _is_zip(stream):
        key, shape, dtype = _choose(stream, item, limits)
    else:
        shape, dtype = _header(stream, item, limits)
    axes, shape = _layout(shape, item)
    meta: dict[str, Any] = {"format": "npz" if key else "npy", "dtype": str(dtype)}
    if key:
        meta["key"] = key
    if axes:
        meta["axes"] = axes
    kind = "2d" if len(shape) == 2 or (len(shape) == 3 and shape[-1] in _CHANNELS) else "3d"
    return {"kind": kind, "shape": shape, "meta": meta}


def read_array(stream: BinaryIO, item: str, limits: Limits, *, key: str = "", frame: int | None = None) -> AnyArray:
    """The values, channels last.

    Raises:
        BadInputError: As `scan_array`, or cut off.
        UnsafeInputError: Over budget.
    """
    if _is_zip(stream):
        key, shape, dtype = _choose(stream, item, limits, key)
        with zipfile.ZipFile(stream) as z, z.open(key + ".npy") as member:
            array = _load(member, shape, dtype, item)
    else:
        shape, dtype = _header(stream, item, limits)
        stream.seek(0)
        array = _load(stream, shape, dtype, item)
    axes, _ = _layout(shape, item)
    array = np.moveaxis(array, 0, -1) if axes.startswith("C") else array
    array = array.reshape(_layout(shape, item)[1])
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if frame is None:
        return array
    if not 0 <= frame < len(array):
        raise BadInputError("image has fewer frames than asked for", item=item, why=f"frame {frame} of {len(array)}")
    picked: AnyArray = array[frame]
    return picked


def _load(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], item: str) -> AnyArray:
    try:
        array: AnyArray = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInputError("cannot read array", item=item, why=str(error)) from error
    if array.shape != shape or array.dtype != dtype:
        raise BadInputError("cannot read array", item=item, why="it changed while it was read")
    return array


def _is_zip(stream: BinaryIO) -> bool:
    stream.seek(0)
    head = stream.read(4)
    stream.seek(0)
    return head in (b"PK\x03\x04", b"PK\x05\x06")


def _header(
    stream: IO[bytes], item: str, limits: Limits, size: int | None = None
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type from an array's header, checked against the budgets and the file's size."""
    left = size if size is not None else size_of(stream)  # type: ignore[arg-type] # seekable when no size is given
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=10_000)
    except (ValueError, EOFError, OSError, SyntaxError, RecursionError, MemoryError) as error:
        raise BadInputError("cannot read array", item=item, why=" ".join(str(error).split())[:200]) from error
    if dtype.hasobject or dtype.kind not in "buif":
        fix = "save numbers with allow_pickle=False" if dtype.hasobject else "save integers or floats"
        raise BadInputError("array does not hold plain numbers", item=item, why=f"its type is {dtype}", fix=fix)
    check_pixels(shape or (1,), dtype.itemsize, limits, item)
    need = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if need > left:
        raise BadInputError("array is cut off", item=item, why=f"its header asks for {need} bytes, {left} are there")
    return tuple(int(n) for n in shape), dtype


def _choose(stream: BinaryIO, item: str, limits: Limits, key: str = "") -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """The one array of an `.npz` that can be a picture."""
    try:
        packed = size_of(stream)
        with zipfile.ZipFile(stream) as z:
            infos = z.infolist()
            if len(infos) > limits.max_files:
                raise BadInputError("cannot read array", item=item, why="the npz holds too many members")
            found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
            refused: BadInputError | None = None
            for info in infos:
                name = info.filename.removesuffix(".npy")
                if (key and name != key) or name == info.filename:
                    continue
                check_inflated(packed, info.file_size, limits, item)
                try:
                    with z.open(info) as member:
                        head = io.BytesIO(member.read(11_000))
                    shape, dtype = _header(head, item, limits, info.file_size)
                    _layout(shape, item)
                    found[name] = shape, dtype
                except BadInputError as error:
                    refused = error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadInputError("cannot read array", item=item, why=str(error)) from error
    chosen = next((k for k in (key, *IMAGE_KEYS) if k in found), next(iter(found)) if len(found) == 1 else None)
    if chosen is not None:
        return (chosen, *found[chosen])
    if refused is not None and not found:
        raise refused
    why = f"it holds {', '.join(sorted(found)[:6])}" if found else "it holds no array that can be a picture"
    raise BadInputError("cannot tell which array is the picture", item=item, why=why, fix="name one of them `image`")


def _layout(shape: tuple[int, ...], item: str) -> tuple[str, tuple[int, ...]]:
    """Axes as stored (empty when channels are last or absent) and the shape with channels last."""
    if not 2 <= len(shape) <= 4:
        raise BadInputError("array is not a picture", item=item, why=f"shape {shape}", fix="give it two to four axes")
    if len(shape) == 4 and shape[-1] not in _CHANNELS and shape[0] in _CHANNELS:
        return "CDHW", (*shape[1:], shape[0])
    if len(shape) == 3 and shape[-1] not in _CHANNELS and shape[0] in _CHANNELS:
        return "CHW", (*shape[1:], shape[0])
    if len(shape) == 4 and shape[-1] not in _CHANNELS:
        raise BadInputError("array is not a picture", item=item, why=f"shape {shape} has four axes and no channels")
    return "", shape
