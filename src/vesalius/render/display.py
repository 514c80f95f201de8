"""From stored values to what a screen shows: window, MONOCHROME1, eight bits. Readers never do this by themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.errors import BadInputError

AnyArray = npt.NDArray[Any]
#: Shares of the values below and above which the window ends when the header gives none.
PERCENTILES = (0.5, 99.5)
#: A million values place a percentile well enough.
_SAMPLE = 1_000_000
#: What of an image's `meta` says how to show stored values, and so must not outlive them.
_SHOWS = frozenset({"window", "voi_lut", "voi_function", "photometric", "format"})


def to_display(
    array: AnyArray,
    image: Image | None = None,
    *,
    window: tuple[float, float] | None = None,
    index: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Values as uint8 grey (same shape) or RGB.

    The window is the one given, else the header's first, else the header's table, else between two percentiles of the
    values (over the whole volume or video, so that slices stay comparable). MONOCHROME1 is inverted: air is dark.

    Args:
        array: Stored values, any of the record's shapes.
        image: Where they came from: its `meta` holds window, table and photometric interpretation.
        window: Centre and width that overrule the header's.
        index: Only this slice or frame, as it looks among the others: the cost is that of one.

    Returns:
        uint8; colour (a last axis of 3 with a colour format, or 8-bit RGB) comes through as it is.
    """
    meta = image.meta if image is not None else {}
    part: AnyArray = array if index is None else array[index]
    if _is_colour(array, image):
        return part if array.dtype == np.uint8 else _scaled(part, *_ends(array))
    if window is None and meta.get("window"):
        centre, width = (float(v) for v in meta["window"][0])
        window = (centre, width) if np.isfinite([centre, width]).all() and width > 0 else None
    if window is not None:
        out = _windowed(part, *window, str(meta.get("voi_function", "LINEAR")))
    elif meta.get("voi_lut"):
        out = _looked_up(part, meta["voi_lut"])
    elif array.dtype == np.uint8 and meta.get("format") != "dicom":
        out = part
    else:
        out = _scaled(part, *_ends(array))
    return 255 - out if meta.get("photometric") == "MONOCHROME1" else out


def to_rgb(view: AnyArray, item: str = "array") -> AnyArray:
    """One picture as `(H, W, 3)`: grey three times, transparency left out.

    Args:
        view: `(H, W)` or `(H, W, C)` with 1 to 4 channels.
        item: Name for messages.

    Raises:
        BadInputError: Another shape.
    """
    if view.ndim == 2:
        view = view[..., None]
    if view.ndim != 3 or view.shape[-1] not in (1, 2, 3, 4):
        raise BadInputError("image cannot be shown as grey or RGB", item=item, why=f"shape {view.shape}")
    if view.shape[-1] in (1, 2):
        return np.repeat(view[..., :1], 3, axis=-1)
    return np.ascontiguousarray(view[..., :3])


def as_shown(image: Image, picture: npt.NDArray[np.uint8]) -> Image:
    """The image holding display values in place of stored ones: `to_display` gives them back as they are.

    A window in hounsfield units, or the inversion of MONOCHROME1, would otherwise be applied to them once more.
    """
    return image.with_array(picture, meta={k: v for k, v in image.meta.items() if k not in _SHOWS})


def _is_colour(array: AnyArray, image: Image | None) -> bool:
    plane = 3 if image is None or image.kind == "2d" else 4
    return array.ndim == plane and array.shape[-1] in (3, 4)


def _ends(array: AnyArray) -> tuple[float, float]:
    some = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    finite = some[np.isfinite(some)] if array.dtype.kind == "f" else some
    low, high = np.percentile(finite, PERCENTILES) if finite.size else (0.0, 0.0)
    if low == high:  # nearly everything is one value: look at the rest
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return float(low), float(high)


def _scaled(array: AnyArray, low: float, high: float) -> npt.NDArray[np.uint8]:
    if not high > low:
        return np.zeros(array.shape, np.uint8)
    x = (array.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return _bytes(x)


def _windowed(array: AnyArray, centre: float, width: float, function: str) -> npt.NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2 (LINEAR, with its half-pixel offsets) and C.11.2.1.3 (LINEAR_EXACT, SIGMOID)."""
    x = array.astype(np.float32)
    if function == "SIGMOID":
        return _bytes(255.0 / (1.0 + np.exp(np.clip(-4.0 * (x - centre) / width, -80, 80))))
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1.0, 1e-6)
    return _bytes(((x - centre) / width + 0.5) * 255.0)


def _looked_up(array: AnyArray, table: dict[str, Any]) -> npt.NDArray[np.uint8]:
    values = np.asarray(table["values"], np.float32)
    index = np.clip(np.nan_to_num(array.astype(np.float64)) - int(table["first"]), 0, len(values) - 1).astype(np.int64)
    return _bytes(values[index] * (255.0 / (2 ** int(table["bits"]) - 1)))


def _bytes(x: AnyArray) -> npt.NDArray[np.uint8]:
    rounded = np.rint(np.clip(np.nan_to_num(x, nan=0.0, posinf=255.0, neginf=0.0), 0, 255))
    return np.asarray(rounded, dtype=np.uint8)
