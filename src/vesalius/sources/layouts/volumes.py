"""Volumes of a data set as images with their geometry, and label volumes that must lie on the same grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from vesalius.cases import Affine, Image, Region
from vesalius.errors import BadInputError
from vesalius.io.formats.nifti import scan_nifti
from vesalius.io.limits import DEFAULT
from vesalius.sources.layouts.common import image_of
from vesalius.sources.layouts.files import Refused, suffix_of
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.masks import class_regions

_NIFTI = frozenset({".nii", ".nii.gz"})


def volume_images(layout: Layout, path: Path, *, modality: str = "") -> list[Image]:
    """One image for each volume of a file, with shape, spacing and affine from its header.

    Args:
        layout: Gives the words that hold for all images.
        path: NIfTI, or a picture or array of which nothing is read here.
        modality: DICOM modality code, where known.

    Raises:
        BadInputError: The header cannot be read.
    """
    image = image_of(layout, path, modality=modality)
    if suffix_of(path.name) not in _NIFTI:
        return [image]
    with path.open("rb") as stream:
        return [replace(image, **fields) for fields in scan_nifti(stream, path.name, DEFAULT)]


def label_regions(
    image: Image, path: Path, names: Mapping[int, str], *, granularity: str = "", refused: Refused | None = None
) -> list[Region]:
    """A label file as regions of an image whose grid it shares.

    Raises:
        BadInputError: The label file cannot be read, or its voxels do not lie where the image's do: another size, or
            another place in the patient.
    """
    if image.kind == "3d" and suffix_of(path.name) in _NIFTI:
        with path.open("rb") as stream:
            label = scan_nifti(stream, path.name, DEFAULT)[0]
        if tuple(label["shape"]) != image.shape or not _together(image.affine, label["affine"], image.shape):
            raise BadInputError(
                "label volume does not lie on the image's grid",
                item=path.name,
                why=f"its shape is {tuple(label['shape'])}, the image's {image.shape}, or it lies in another place",
                fix="resample it to the image",
            )
    return class_regions(path, names, kind=image.kind, granularity=granularity, refused=refused)


def _together(one: Affine | None, other: Affine | None, shape: tuple[int, ...]) -> bool:
    """True when the corners of two grids of this shape are less than half a voxel apart."""
    if one is None or other is None:
        return one is other
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape[:3]))), dtype=np.float64)
    apart = np.linalg.norm(one.to_patient(corners) - other.to_patient(corners), axis=-1)
    return bool(apart.max() < min(one.spacing) / 2)
