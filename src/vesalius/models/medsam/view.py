"""From a picture to what the encoder eats, and from pixels to the encoder's square and back. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.preprocess import display_view
from vesalius.models.protocols import AnyArray, FloatArray

#: Raised when the code below gives other values for the same picture.
VERSION = 1


@dataclass(frozen=True)
class Frame:
    """How a picture lies in the square: scaled to fit, in the upper left corner, zeros beside it.

    Args:
        height: Of the picture, in its pixels.
        width: Of the picture.
        side: Of the square.
    """

    height: int
    width: int
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the square for one of the picture."""
        return self.side / max(self.height, self.width)

    @property
    def inside(self) -> tuple[int, int]:
        """Height and width of the picture in the square."""
        h, w = (max(1, int(v * self.scale + 0.5)) for v in (self.height, self.width))
        return min(h, self.side), min(w, self.side)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A place in the picture's pixels as a share of the square's side."""
        h, w = self.inside
        return x * w / self.width / self.side, y * h / self.height / self.side

    def put(self, mask: AnyArray) -> npt.NDArray[np.bool_]:
        """`(side, side)` a `(height, width)` mask in the square: True where at least half of a pixel is inside."""
        out = np.zeros((self.side, self.side), bool)
        h, w = self.inside
        picture = Pillow.fromarray(np.asarray(mask, np.uint8) * 255)
        shrunk = self.scale < 1
        out[:h, :w] = (
            np.asarray(picture.resize((w, h), Pillow.Resampling.BOX if shrunk else Pillow.Resampling.BILINEAR)) >= 128
        )
        return out


def view_of(image: Image, index: int, side: int) -> tuple[FloatArray, Frame]:
    """`(3, side, side)` values in [0, 1] of a picture or of one slice, and how it lies there.

    As LiteMedSAM was trained: the longer side fits the square, the values are stretched from least to most, and what
    is left over is zero. A screen's window over the whole volume comes first.

    Raises:
        UsageError: The volume has no such slice.
    """
    if image.kind != "2d" and image.shape and not 0 <= index < image.shape[0]:
        why = f"it has {image.shape[0]}"
        raise UsageError("there is no such slice", item=f"{image.uri or 'array'}: {index}", why=why)
    shown = display_view(image, index)
    frame = Frame(shown.shape[0], shown.shape[1], side)
    h, w = frame.inside
    grey = bool((shown == shown[..., :1]).all())
    picture = Pillow.fromarray(np.ascontiguousarray(shown[..., 0]) if grey else shown)
    way = Pillow.Resampling.BOX if frame.scale < 1 else Pillow.Resampling.BILINEAR
    values = np.asarray(picture.resize((w, h), way), np.float32)
    low, high = float(values.min()), float(values.max())
    values = (values - low) / max(high - low, 1e-8)
    out = np.zeros((3, side, side), np.float32)
    out[:, :h, :w] = values if grey else values.transpose(2, 0, 1)
    return out, frame
