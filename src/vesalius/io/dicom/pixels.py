"""Pixels of DICOM objects as modality values: decoded, colours as RGB, rescale applied, no window applied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, UnsafeInputError, VesaliusError
from vesalius.io.dicom.compressions import COMPRESSIONS, NATIVE, plugin_for
from vesalius.io.dicom.parse import load, quiet
from vesalius.io.limits import Limits, check_inflated, check_pixels
from vesalius.io.pool.messages import as_error

if TYPE_CHECKING:
    from pydicom import Dataset

AnyArray = npt.NDArray[Any]

_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")


def read_dicom(
    stream: BinaryIO, item: str, limits: Limits, frames: list[int] | None = None, *, keep_frames: bool = False
) -> AnyArray:
    """Modality values of one object.

    Args:
        stream: Seekable.
        item: Name for messages.
        limits: Budgets, checked before decoding.
        frames: Which frames, in this order; None for all.
        keep_frames: Keep the frame axis of a single frame.

    Returns:
        `(H, W)`, `(H, W, 3)`, `(F, H, W)` or `(F, H, W, 3)`. Grey values have their rescale or modality table applied:
        an integer type when slope and intercept are whole numbers, else float32. Palette and YBR become RGB.

    Raises:
        BadInputError: Damaged, or of a form that is not read.
        MissingError: No decoder for its compression.
        UnsafeInputError: Over budget.
    """
    with quiet():
        ds, _ = load(stream, item, limits, pixels=True)
        return decode_dataset(ds, item, limits, frames, keep_frames=keep_frames)


def decode_dataset(
    ds: Dataset, item: str, limits: Limits, frames: list[int] | None = None, *, keep_frames: bool = False
) -> AnyArray:
    """Modality values of an object that is parsed already; arguments, result and errors as of `read_dicom`."""
    with quiet():
        try:
            return _decode(ds, item, limits, frames, keep_frames)
        except VesaliusError:
            raise
        except Exception as error:
            raise as_error(error, item, "cannot decode DICOM pixels") from error


def _decode(ds: Dataset, item: str, limits: Limits, frames: list[int] | None, keep: bool) -> AnyArray:
    if "Rows" not in ds or "Columns" not in ds:
        raise BadInputError(
            "DICOM object holds no image", item=item, why="it says no Rows and Columns (is the file cut off?)"
        )
    n = int(ds.get("NumberOfFrames") or 1)
    samples = int(ds.get("SamplesPerPixel") or 1)
    bits = int(ds.get("BitsAllocated") or 8)
    shape = (n if frames is None else len(frames), int(ds.Rows), int(ds.Columns), samples)
    check_pixels(shape, max(1.0, bits / 8), limits, item)
    _check_meaning(ds, item, bits)
    if frames is not None and not all(0 <= f < n for f in frames):
        raise BadInputError("DICOM object has fewer frames than asked for", item=item, why=f"{n} frames")
    array = _stored(ds, item, limits, n, frames)
    if array.ndim == (3 if samples > 1 else 2) and (keep or frames is not None):
        array = array[None]
    photometric = str(ds.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        return _palette(array, ds)
    if photometric in _COLOUR or samples > 1:
        return array
    return _modality_values(array, ds, frames, item)


def _check_meaning(ds: Dataset, item: str, bits: int) -> None:
    stored = int(ds.get("BitsStored") or bits)
    if stored > bits:
        raise BadInputError("DICOM header makes no sense", item=item, why=f"BitsStored {stored} > BitsAllocated {bits}")
    if bits not in (1, 8, 16, 32, 64):
        raise BadInputError(
            "DICOM pixels are of a form that is not read",
            item=item,
            why=f"BitsAllocated is {bits}",
            fix="convert them to 16 bits",
        )


def _stored(ds: Dataset, item: str, limits: Limits, n: int, frames: list[int] | None) -> AnyArray:
    """Stored values through pydicom's decoders, YBR converted to RGB."""
    from pydicom.pixels import iter_pixels, pixel_array

    if not any(k in ds for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise BadInputError(
            "DICOM object holds no image", item=item, why="there is no pixel data (is the file cut off?)"
        )
    syntax = str(getattr(ds, "file_meta", {}).get("TransferSyntaxUID", ""))
    plugin = ""
    if not syntax:
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        implicit = ds.original_encoding[0]
        if not isinstance(getattr(ds, "file_meta", None), FileMetaDataset):
            ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    elif syntax not in NATIVE:
        plugin = check_compressed(ds, item, limits)
    one = frames is not None and len(frames) < n
    array: AnyArray
    if one and frames is not None:
        array = np.stack(list(iter_pixels(ds, indices=frames, decoding_plugin=plugin)))
    else:
        array = pixel_array(ds, decoding_plugin=plugin)
        if frames is not None and frames != list(range(n)):
            array = array[frames]
    if array.dtype == bool:
        array = array.astype(np.uint8)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_compressed(ds: Dataset, item: str, limits: Limits) -> str:
    """Look at compressed pixels before anything decodes them; the name of the plug-in that does.

    Raises:
        BadInputError: Cut off, or of a compression that is not read.
        MissingError: The plug-in does not work here.
        UnsafeInputError: Over budget.
    """
    syntax = str(ds.file_meta.TransferSyntaxUID)
    plugin = plugin_for(syntax, int(ds.get("BitsStored") or 8), item)
    _check_fragments(ds, syntax, int(ds.get("NumberOfFrames") or 1), item, limits)
    return plugin


def _check_fragments(ds: Dataset, syntax: str, n: int, item: str, limits: Limits) -> None:
    """Look at the code streams before a C library does: how many, how large they say they are, cut off or not."""
    from pydicom.encaps import generate_frames

    found = 0
    extended = None
    if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
        extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    rows, columns = int(ds.Rows), int(ds.Columns)
    for frame in generate_frames(ds.PixelData, number_of_frames=n, extended_offsets=extended):
        found += 1
        size = codestream_size(frame)
        if size is not None:
            check_pixels(size, 1, limits, item)
            if size[:2] != (rows, columns):
                raise BadInputError(
                    "DICOM header and compressed pixels disagree",
                    item=item,
                    why=f"{rows} x {columns} in the header, {size[0]} x {size[1]} in the pixels",
                )
        if COMPRESSIONS[syntax].end_marker and b"\xff\xd9" not in frame[-32:]:
            raise BadInputError("DICOM file is cut off", item=item, why=f"frame {found} of {n} has no end marker")
        if found == n:
            break
    if found < n:
        raise BadInputError("DICOM file is cut off", item=item, why=f"it holds {found} of {n} frames")
    check_inflated(len(ds.PixelData), int(ds.Rows) * int(ds.Columns) * n, limits, item)


def codestream_size(data: bytes) -> tuple[int, int, int] | None:
    """`(rows, columns, components)` as a JPEG, JPEG-LS or JPEG 2000 stream itself says; None for other data.

    Markers after ITU-T T.81 (SOF), T.87 (SOF55) and T.800 (SIZ).
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 256)
    if start >= 0 and len(data) >= start + 42:
        siz = data[start + 4 :]
        x1, y1, x0, y0 = (int.from_bytes(siz[4 + 4 * i : 8 + 4 * i], "big") for i in range(4))
        return y1 - y0, x1 - x0, int.from_bytes(siz[36:38], "big")
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            return (
                int.from_bytes(data[at + 5 : at + 7], "big"),
                int.from_bytes(data[at + 7 : at + 9], "big"),
                data[at + 9],
            )
        if length < 2:
            return None
        at += 2 + length
    return None


def _palette(array: AnyArray, ds: Dataset) -> AnyArray:
    """Palette indices as RGB, 8 bits a colour (PS3.3 C.7.6.3.1.5); indices past the ends take the end's colour."""
    from pydicom.pixels.processing import apply_color_lut

    entries = int(ds.RedPaletteColorLookupTableDescriptor[2])
    rgb = apply_color_lut(array, ds)
    if rgb.dtype == np.uint8:
        return np.asarray(rgb[..., :3])
    return np.asarray(rgb[..., :3] >> (8 if entries > 8 else 0)).astype(np.uint8)


def _modality_values(array: AnyArray, ds: Dataset, frames: list[int] | None, item: str) -> AnyArray:
    """Apply the modality table, or slope and intercept (of the object, shared, or of each frame)."""
    if ds.get("ModalityLUTSequence"):
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(array, ds))
    pairs = _rescales(ds)
    if pairs is None:
        return array
    if len(pairs) == 1 or len(set(pairs)) == 1:
        return rescale(array, *pairs[0], item)
    chosen = pairs if frames is None else [pairs[f] for f in frames]
    if len(chosen) != len(array):
        raise BadInputError("DICOM header makes no sense", item=item, why="rescale is not given for every frame")
    return np.stack([rescale(a, *p, item).astype(np.float32) for a, p in zip(array, chosen, strict=True)])


def _rescales(ds: Dataset) -> list[tuple[float, float]] | None:
    if "RescaleSlope" in ds or "RescaleIntercept" in ds:
        return [(_float(ds.get("RescaleSlope"), 1.0), _float(ds.get("RescaleIntercept"), 0.0))]
    pairs = []
    for group in [*ds.get("SharedFunctionalGroupsSequence", []), *ds.get("PerFrameFunctionalGroupsSequence", [])]:
        for inner in group.get("PixelValueTransformationSequence", []):
            pairs.append((_float(inner.get("RescaleSlope"), 1.0), _float(inner.get("RescaleIntercept"), 0.0)))
    return pairs or None


def _float(value: Any, default: float) -> float:
    return default if value is None or value == "" else float(value)


def rescale(array: AnyArray, slope: float, intercept: float, item: str) -> AnyArray:
    """`slope * array + intercept` in the smallest type that holds it: integers stay integers where they can.

    Raises:
        BadInputError: The slope is 0 or not finite, or the result would not be finite.
    """
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise BadInputError("DICOM rescale makes no sense", item=item, why=f"slope {slope}, intercept {intercept}")
    if slope == 1 and intercept == 0:
        return array
    low, high = float(array.min()), float(array.max())
    ends = sorted((slope * low + intercept, slope * high + intercept))
    if max(abs(v) for v in ends) > float(np.finfo(np.float32).max):
        raise UnsafeInputError(
            "DICOM rescale makes no sense", item=item, why=f"slope {slope} gives values beyond what a float holds"
        )
    if array.dtype.kind in "iu" and slope == int(slope) and intercept == int(intercept):
        for kind in (np.int16, np.int32, np.int64):
            info = np.iinfo(kind)
            # Both the product and the sum must fit, and so must the stored values themselves.
            if all(info.min <= v <= info.max for v in (*ends, low, high, slope * low, slope * high, intercept)):
                return np.asarray(array.astype(kind) * np.asarray(slope, kind) + np.asarray(intercept, kind))
    return np.asarray(array.astype(np.float32) * np.float32(slope) + np.float32(intercept))
