"""Label images and label volumes as regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vesalius.cases import Image, Mask, Region
from vesalius.cases.image import AnyArray, Kind
from vesalius.errors import BadInputError
from vesalius.sources.layouts.files import Refused


def stored(path: Path, kind: Kind = "2d") -> AnyArray:
    """The stored values of one file, read as `Image.pixels` reads every image."""
    return Image(uri=str(path), kind=kind).pixels()


def binary_region(
    path: Path, label: str, *, image: int = 0, granularity: str = "", annotator: str = "", threshold: float = 0.0
) -> Region:
    """A mask picture as one region: everything above `threshold` is inside.

    Args:
        path: 2-d picture; of a picture with colour channels, a pixel counts when any colour (not alpha) does.
        label: What is marked.
        image: Index of the image it belongs to.
        granularity: `lesion`, `organ`, ...
        annotator: Who drew it.
        threshold: In stored values; lossy masks want half of the largest value.

    Raises:
        BadInputError: The file cannot be read.
    """
    array = stored(path)
    if array.ndim == 3:
        array = array[..., : 3 if array.shape[-1] in (3, 4) else 1].max(axis=-1)
    mask = Mask.from_array(array > threshold)
    return Region(mask, label, image=image, granularity=granularity, annotator=annotator)


def class_regions(
    path: Path,
    names: Mapping[int, str],
    *,
    kind: Kind = "2d",
    image: int = 0,
    granularity: str = "",
    annotator: str = "",
    refused: Refused | None = None,
) -> list[Region]:
    """A label picture or volume as one region for each class that is there.

    Args:
        path: File whose values are class numbers (0 = background).
        names: Class number to name.
        kind: `2d` or `3d`.
        image: Index of the image it belongs to.
        granularity: `lesion`, `organ`, ...
        annotator: Who drew it.
        refused: Gets a line for each value that has no name; such voxels are left out.

    Raises:
        BadInputError: The file cannot be read, or its values are not whole numbers.
    """
    array = stored(path, kind)
    if kind == "2d" and array.ndim == 3:
        if not all(np.array_equal(array[..., 0], array[..., c]) for c in range(1, min(array.shape[-1], 3))):
            raise BadInputError("cannot read label image", item=path.name, why="it is in colour, not class numbers")
        array = array[..., 0]
    values = np.unique(array)
    if not np.array_equal(values, np.round(values)):
        raise BadInputError("cannot read label image", item=path.name, why="its values are not whole numbers")
    found = []
    for value in values[values != 0].tolist():
        if int(value) in names:
            mask = Mask.from_array(array == value)
            found.append(Region(mask, names[int(value)], image=image, granularity=granularity, annotator=annotator))
        elif refused is not None:
            refused.append((path.name, f"the value {value:g} has no class name; its pixels were left out"))
    return found


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, from its header where that is enough.

    Raises:
        BadInputError: The file is not a picture.
    """
    from PIL import Image as Picture
    from PIL import UnidentifiedImageError

    try:
        with Picture.open(path) as picture:
            return picture.height, picture.width
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Picture.DecompressionBombError) as error:
        raise BadInputError("cannot read image", item=path.name, why=str(error)) from error
