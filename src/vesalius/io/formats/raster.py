"""PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000 through Pillow: 16 bits kept, turned as EXIF says, colours as RGB."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, UnsafeInputError
from vesalius.io.limits import Limits, check_pixels

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

AnyArray = npt.NDArray[Any]

#: Never the rest of Pillow's list: some of those readers start other programs.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "MPO")
_GREY = {"L": 1, "1": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2, "I": 4, "F": 4}
#: EXIF orientations that swap rows and columns.
_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


@contextlib.contextmanager
def _opened(stream: BinaryIO, item: str, limits: Limits) -> Iterator[PilImage]:
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    with warnings.catch_warnings():
        # Our own budget decides; Pillow's harder limit stays on top of it.
        warnings.simplefilter("ignore")
        try:
            picture = Pil.open(stream, formats=FORMATS)
        except Pil.DecompressionBombError as error:
            raise UnsafeInputError("image is over the pixel budget", item=item, why=str(error)) from error
        except UnidentifiedImageError as error:
            raise BadInputError("cannot read image", item=item, why="its header is damaged") from error
        with picture:
            frames = getattr(picture, "n_frames", 1)
            channels = 1 if picture.mode in _GREY else 3
            check_pixels((frames, picture.height, picture.width, channels), _GREY.get(picture.mode, 1), limits, item)
            yield picture


def scan_raster(stream: BinaryIO, item: str, limits: Limits) -> dict[str, Any]:
    """What the header says, as fields of `Image`.

    Raises:
        BadInputError: Damaged.
        UnsafeInputError: Over the pixel budget.
    """
    with _opened(stream, item, limits) as picture:
        frames = getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
        h, w = picture.height, picture.width
        if frames == 1 and picture.getexif().get(_ORIENTATION) in _TURNED:
            h, w = w, h
        plane = (h, w) if _is_grey(picture) else (h, w, 3)
        pages = picture.format == "TIFF"
        meta: dict[str, Any] = {"format": str(picture.format).lower()}
        faults = []
        if "A" in picture.getbands() or "transparency" in picture.info:
            faults.append("transparent parts are shown on black")
        if _has_deep_colour(picture):
            faults.append("16-bit colour is read as 8-bit")
        if faults:
            meta["faults"] = faults
        if frames == 1:
            return {"kind": "2d", "shape": plane, "meta": meta}
        return {"kind": "3d" if pages else "video", "shape": (frames, *plane), "meta": meta}


def read_raster(stream: BinaryIO, item: str, limits: Limits, frame: int | None = None) -> AnyArray:
    """Values of a picture, of all frames of an animation, or of all pages of a TIFF.

    Grey stays grey in its own depth (uint8, uint16, int32, float32); everything else becomes RGB uint8, with
    transparent parts on black. A single picture is turned as its EXIF orientation says.

    Raises:
        BadInputError: Damaged, cut off, or pages of different sizes.
        UnsafeInputError: Over the pixel budget.
    """
    from PIL import ImageOps, ImageSequence

    with _opened(stream, item, limits) as picture:
        frames = getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
        if frames == 1:
            picture.load()
            return _values(ImageOps.exif_transpose(picture))
        if frame is not None:
            if not 0 <= frame < frames:
                raise BadInputError(
                    "image has fewer frames than asked for", item=item, why=f"frame {frame} of {frames}"
                )
            picture.seek(frame)
            return _values(picture)
        grey = picture.format == "TIFF" and _is_grey(picture)
        out: AnyArray | None = None
        for n, page in enumerate(ImageSequence.Iterator(picture)):
            values = _values(page if grey else page.convert("RGBA") if "transparency" in page.info else page)
            if not grey and values.ndim == 2:
                values = np.repeat(values[..., None], 3, axis=2)
            if out is None:
                check_pixels((frames, *values.shape), values.dtype.itemsize, limits, item)
                out = np.empty((frames, *values.shape), values.dtype)
            if values.shape != out.shape[1:]:
                raise BadInputError("pages differ in size", item=item, fix="save each page as a file of its own")
            out[n] = values
        if out is None:
            raise BadInputError("image is empty", item=item)
        return out


def _is_grey(picture: PilImage) -> bool:
    return picture.mode in _GREY and "transparency" not in picture.info and picture.format not in ("GIF",)


def _has_deep_colour(picture: PilImage) -> bool:
    """Pillow reduces 16-bit RGB while it loads; the raw mode of the first tile tells."""
    tile = getattr(picture, "tile", None) or []
    raw = tile[0][3] if tile else ""
    mode = raw[0] if isinstance(raw, tuple) else raw
    return isinstance(mode, str) and ";16" in mode and mode.startswith(("RGB", "LA", "CMYK"))


def _values(picture: PilImage) -> AnyArray:
    mode = picture.mode
    if mode == "1":
        picture = picture.convert("L")
    elif mode in _GREY and "transparency" not in picture.info:
        pass
    elif mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
        picture = converted if converted is not None else picture
    elif "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        rgba = np.asarray(picture.convert("RGBA"))
        alpha = rgba[..., 3:].astype(np.uint16)
        return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)
    else:
        picture = picture.convert("RGB")
    array = np.asarray(picture)
    # Big-endian files give big-endian arrays, which torch does not take.
    return np.array(array.astype(array.dtype.newbyteorder("="), copy=False))
