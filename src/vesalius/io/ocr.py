"""Is there text in the pixels? Asks RapidOCR (an extra); tells how much it found and never what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vesalius.errors import MissingError
from vesalius.io.dicom.pixels import decode_dataset
from vesalius.io.limits import Limits
from vesalius.render.display import to_display

if TYPE_CHECKING:
    from pydicom import Dataset

#: Frames of a loop that are looked at, evenly spread: an overlay stays where it is.
FRAMES = 3
#: Confidence and length below which a find is taken for texture.
CONFIDENCE, LETTERS = 0.5, 2


def text_in_dataset(ds: Dataset) -> int:
    """Number of pieces of text in the pixels.

    Raises:
        MissingError: RapidOCR is not installed.
        BadInputError: The pixels cannot be decoded.
        UnsafeInputError: They are over budget.
    """
    engine = _engine()
    frames = int(ds.get("NumberOfFrames") or 1)
    chosen = np.unique(np.linspace(0, frames - 1, FRAMES).astype(int)).tolist()
    return sum(text_in_array(frame, engine) for frame in decode_dataset(ds, "", Limits(), chosen))


def text_in_array(array: np.ndarray[Any, np.dtype[Any]], engine: Any = None) -> int:
    """Number of pieces of text in one picture, `(H, W)` or `(H, W, 3)`.

    Raises:
        MissingError: RapidOCR is not installed.
    """
    engine = engine or _engine()
    shown = to_display(array)
    rgb = shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, axis=2)
    found, _ = engine(np.ascontiguousarray(rgb))
    return sum(1 for _, text, score in found or () if float(score) >= CONFIDENCE and len(str(text).strip()) >= LETTERS)


def _engine() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ModuleNotFoundError as error:
        raise MissingError(
            "looking for text in pixels needs RapidOCR",
            why=f"{error.name} is not installed",
            fix="install it: pip install 'vesalius[ocr]'",
        ) from error
    except ImportError as error:
        raise MissingError(
            "looking for text in pixels needs RapidOCR",
            why=f"it is installed and does not start: {error}",
            fix="install the system library that it names (often libGL, of OpenCV)",
        ) from error
    return RapidOCR()
