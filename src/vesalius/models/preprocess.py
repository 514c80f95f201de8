"""From an image's stored values to the views a tower eats: display window, slices, size, channels, normalisation.

NumPy and Pillow only, so that decode workers need no torch. Everything that changes the output is a field, and the
fingerprint covers every field: an index made with another preprocessing is refused by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from vesalius.cases import Image
from vesalius.errors import BadInputError
from vesalius.render.display import to_display, to_rgb

AnyArray = npt.NDArray[Any]
U8 = npt.NDArray[np.uint8]
Fit = Literal["squeeze", "crop"]
_FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
#: Raised when the code below gives other values for the same fields.
_VERSION = 1


@dataclass(frozen=True)
class ViewPreprocess:
    """Resize to a fixed size, three channels, one view for each chosen slice or frame.

    Args:
        height: Height of a view in pixels.
        width: Width of a view in pixels.
        fit: `squeeze` ignores the aspect ratio (nothing is cut off, the published choice for medical embedders);
            `crop` scales the shorter side and cuts out the middle, as CLIP does.
        shortest: With `crop`, what the shorter side is scaled to (0: the larger of height and width).
        resample: Pillow filter, antialiased: `bilinear`, `bicubic`, `lanczos`, `nearest`, `box`, `hamming`.
        slices: Largest number of slices of a volume or frames of a video; they are spread evenly.
        mean: Per-channel mean of values in [0, 1], or None to give 8-bit values to a tower that normalises itself.
        std: Per-channel standard deviation, with `mean`.
        rescale: Factor on 8-bit values before `mean` and `std`.
    """

    height: int = 224
    width: int = 224
    fit: Fit = "squeeze"
    shortest: int = 0
    resample: str = "bilinear"
    slices: int = 8
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    rescale: float = 1 / 255

    def __post_init__(self) -> None:
        if self.resample not in _FILTERS:
            raise BadInputError("resampling filter is not known", item=self.resample, fix=f"use {', '.join(_FILTERS)}")
        if self.fit not in ("squeeze", "crop") or min(self.height, self.width, self.slices) < 1:
            raise BadInputError("preprocessing makes no sense", item=json.dumps(self.to_dict()))
        if (self.mean is None) != (self.std is None):
            raise BadInputError("preprocessing has one of mean and std only", item=json.dumps(self.to_dict()))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields and the version of the code."""
        text = json.dumps({**self.to_dict(), "code": _VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(self, image: Image) -> AnyArray:
        """Views of one image.

        Returns:
            `(S, 3, height, width)`, uint8 in [0, 255] without `mean`, else float32.

        Raises:
            BadInputError: The image cannot be read or has an unusable shape.
        """
        array = _choose(image, self.slices)
        # A mask as a picture: black and white.
        shown = to_display(array.astype(np.uint8) * 255 if array.dtype == np.bool_ else array, image)
        stack = shown[None] if image.kind == "2d" else shown
        views = np.stack([self._view(view, str(image.uri or "array")) for view in stack]).transpose(0, 3, 1, 2)
        if self.mean is None or self.std is None:
            return np.ascontiguousarray(views)
        mean, std = (np.asarray(v, np.float32)[None, :, None, None] for v in (self.mean, self.std))
        return (views.astype(np.float32) * np.float32(self.rescale) - mean) / std

    def _view(self, shown: AnyArray, item: str) -> AnyArray:
        """`(height, width, 3)`; grey is scaled once and then repeated, to the same values for a third of the time."""
        if shown.ndim == 3 and shown.shape[-1] in (1, 2):
            shown = shown[..., 0]
        if shown.ndim != 2:
            return self._resize(to_rgb(shown, item))
        return np.repeat(self._resize(np.ascontiguousarray(shown))[..., None], 3, axis=-1)

    def _resize(self, pixels: AnyArray) -> AnyArray:
        picture = Pillow.fromarray(pixels)
        target = (self.width, self.height)
        if self.fit == "crop":
            short = self.shortest or max(target)
            w, h = picture.size
            # Sizes as CLIP's processor rounds them: the long side is cut down to a whole pixel.
            size = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
            picture = picture.resize(size, _FILTERS[self.resample])
            left, top = (size[0] - target[0]) // 2, (size[1] - target[1]) // 2
            return np.asarray(picture.crop((left, top, left + target[0], top + target[1])))
        if picture.size != target:
            picture = picture.resize(target, _FILTERS[self.resample])
        return np.asarray(picture)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ViewPreprocess:
        """Read back what `to_dict` wrote.

        Raises:
            BadInputError: A field is not known.
        """
        try:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            return cls(**fields)
        except TypeError as error:
            raise BadInputError(
                "cannot read preprocessing", item=json.dumps(dict(data))[:200], why=str(error)
            ) from error


def display_view(image: Image, index: int | None = None) -> U8:
    """`(H, W, 3)` of a picture, or of one slice or frame (the middle one when not said), as a screen shows it.

    Raises:
        BadInputError: There is no such slice, or the image cannot be shown.
    """
    array, at = image.pixels(), None
    if image.kind != "2d":
        at = len(array) // 2 if index is None else index
        if not 0 <= at < len(array):
            raise BadInputError("no such slice", item=str(at), why=f"the image has slices 0 to {len(array) - 1}")
    shown = to_display(array, image, index=at)
    if shown.ndim == 2:
        shown = shown[..., None]
    return np.ascontiguousarray(np.broadcast_to(shown[..., :3], (*shown.shape[:2], 3)))


def _choose(image: Image, most: int) -> AnyArray:
    """The array, cut down to evenly spread slices along its first axis where it is a volume or video."""
    array = image.pixels()
    if image.kind == "2d":
        return array
    n = len(array)
    # The middles of equal parts: the ends of a volume are mostly air.
    at = np.unique(((np.arange(min(most, n)) + 0.5) * n / min(most, n)).astype(int))
    chosen: AnyArray = array[at]
    return chosen
