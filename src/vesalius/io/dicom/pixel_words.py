"""Pixels with nothing in them but pixels: bits above BitsStored, bytes past the end and compressed streams carry more.

A cell of 16 bits that stores 12 has four that nobody looks at; older objects keep an overlay plane there. A compressed
stream may hold comments, a thumbnail, bytes after its end. So compressed pixels are decoded and leave as they decode,
and every word is cut to what the header says is stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError
from vesalius.io.limits import Limits, check_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["CleanPixels", "clean_pixels", "clean_tables", "syntax_of"]

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass(frozen=True)
class CleanPixels:
    """Pixel data that is safe to write.

    Args:
        keyword: Which element holds it.
        vr: Its VR.
        data: The bytes, even in number.
        syntax: Transfer syntax that they are in; never a compressed one.
        header: Attributes that decoding changed.
    """

    keyword: str
    vr: str
    data: bytes
    syntax: str
    header: dict[str, Any] = field(default_factory=dict)


def clean_pixels(ds: Dataset, item: str, limits: Limits) -> CleanPixels:
    """The pixels of an object, decoded where they are compressed, without a bit that is not a stored value.

    Args:
        ds: With its file meta; not changed.
        item: Name for messages.
        limits: Budgets, checked before anything is decoded.

    Raises:
        BadInputError: Cut off, or of a form whose unused bits are not known.
        MissingError: There is no decoder for them.
        UnsafeInputError: Over budget.
    """
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

    keyword = next(k for k in KEYWORDS if k in ds)
    syntax = syntax_of(ds)
    frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
    bits = int(ds.BitsAllocated)
    count = int(ds.Rows) * int(ds.Columns) * samples
    check_pixels((frames, int(ds.Rows), int(ds.Columns), samples), max(1.0, bits / 8), limits, item)
    header: dict[str, Any] = {}
    big = syntax == ExplicitVRBigEndian
    if syntax.is_encapsulated:
        data, header = _decoded(ds, item, limits)
        syntax = ExplicitVRLittleEndian
    else:
        data = bytes(getattr(ds, keyword))
        if big and keyword == "PixelData" and bits == 8 and ds[keyword].VR == "OW":
            # Cells of eight bits lie in swapped pairs here (PS3.5 8.2, Annex D); as OB they lie one after the other.
            data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
        if "422" in str(ds.get("PhotometricInterpretation", "")):
            count = count * 2 // 3  # two samples of colour for two pixels
    if syntax == DeflatedExplicitVRLittleEndian:
        syntax = ExplicitVRLittleEndian
    whole = (count * frames * bits + 7) // 8
    if len(data) < whole:
        raise BadInputError("cannot de-identify", item=item, why="its pixels are cut off")
    words = _words(data[:whole], keyword, bits, ds, big=big, spare=-count * frames % 8, item=item)
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(keyword, "OB" if bits <= 8 else "OW")
    return CleanPixels(keyword, vr, words + b"\0" * (len(words) % 2), str(syntax), header)


def syntax_of(ds: Dataset) -> Any:
    """The transfer syntax of an object, also where it has no file meta and the parser had to find out."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    said = getattr(ds, "file_meta", {}).get("TransferSyntaxUID")
    return said or (ImplicitVRLittleEndian if ds.original_encoding[0] else ExplicitVRLittleEndian)


def _words(data: bytes, keyword: str, bits: int, ds: Dataset, *, big: bool, spare: int, item: str) -> bytes:
    """Every word with its unused bits at zero; a number that is none with one pattern for all."""
    order = ">" if big else "<"
    if keyword != "PixelData":
        values = np.frombuffer(data, order + ("f4" if keyword == "FloatPixelData" else "f8")).copy()
        values[np.isnan(values)] = np.nan  # the other 22 bits of such a word are nobody's value
        return values.tobytes()
    if bits == 1:
        out = np.frombuffer(data, np.uint8).copy()
        if spare and len(out):
            out[-1] &= 0xFF >> spare
        return out.tobytes()
    if bits not in (8, 16, 32, 64):
        raise BadInputError("cannot de-identify", item=item, why=f"BitsAllocated is {bits}", fix="convert it to 16")
    stored = int(ds.get("BitsStored") or bits)
    high = int(ds.get("HighBit", stored - 1))
    if not 0 < stored <= bits or not stored - 1 <= high < bits:
        raise BadInputError(
            "cannot de-identify", item=item, why=f"BitsStored {stored} and HighBit {high} of {bits} make no sense"
        )
    if stored == bits:
        return data
    mask = ((1 << stored) - 1) << (high - stored + 1)
    words: npt.NDArray[Any] = np.frombuffer(data, f"{order}u{bits // 8}")
    kept: npt.NDArray[Any] = words & np.asarray(mask, words.dtype)
    return kept.astype(words.dtype).tobytes()


def _decoded(ds: Dataset, item: str, limits: Limits) -> tuple[bytes, dict[str, Any]]:
    """Stored values of compressed pixels as bytes, and what of the header is otherwise now."""
    from pydicom.pixels import get_decoder

    from vesalius.io.dicom.pixels import check_compressed

    plugin = check_compressed(ds, item, limits)
    frames, bits = int(ds.get("NumberOfFrames") or 1), int(ds.BitsAllocated)
    cell = np.dtype(f"<{'i' if ds.get('PixelRepresentation') == 1 else 'u'}{max(bits // 8, 1)}")
    parts: list[bytes] = []
    said: Any = {}
    try:
        decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
        for array, header_now in decoder.iter_array(ds, decoding_plugin=plugin, as_rgb=True):
            said = header_now
            if bits == 1 or array.dtype.itemsize > cell.itemsize:
                raise ValueError("cells are smaller than values")
            parts.append(array.astype(cell).tobytes())
            if len(parts) == frames:
                break
    except Exception as error:  # decoders raise no common class, and their words may quote what is in the stream
        raise BadInputError(
            "cannot de-identify", item=item, why=f"its pixels cannot be decoded ({type(error).__name__})"
        ) from None
    header: dict[str, Any] = {"PhotometricInterpretation": str(said["photometric_interpretation"])}
    if int(said["samples_per_pixel"]) > 1:
        header["PlanarConfiguration"] = 0
    return b"".join(parts), header


def clean_tables(ds: Dataset, used: frozenset[int] | None = None) -> None:
    """Cut look-up tables to the entries that their descriptors name; set palette entries that no pixel uses to zero.

    Args:
        ds: A data set that is being made; changed.
        used: Pixel values, for palettes; None where they are not known.
    """
    for name in ("", "RedPaletteColor", "GreenPaletteColor", "BluePaletteColor", "AlphaPaletteColor"):
        table, described = (
            ("LUTData", "LUTDescriptor") if not name else (f"{name}LookupTableData", f"{name}LookupTableDescriptor")
        )
        if table not in ds:
            continue
        descriptor = ds.get(described) or ds.get("RedPaletteColorLookupTableDescriptor")
        if not descriptor or len(descriptor) != 3:
            del ds[table]
            continue
        entries, first = int(descriptor[0]) or 65536, int(descriptor[1])
        value = getattr(ds, table)
        if not isinstance(value, bytes):
            setattr(ds, table, list(value)[:entries])
            continue
        size = 2 if len(value) >= 2 * entries else 1
        words = np.frombuffer(value[: entries * size], np.uint8).reshape(-1, size).copy()
        if name and used is not None:
            last = first + len(words) - 1
            keep = {min(max(v, first), last) - first for v in used}
            words[[i for i in range(len(words)) if i not in keep]] = 0
        data = words.tobytes()
        setattr(ds, table, data + b"\0" * (len(data) % 2))
