"""Small helpers that write files the way the public layouts do, without any code of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture


def picture(path: Path, height: int = 8, width: int = 10, value: int = 7, *, colour: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if colour else (height, width)
    Picture.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def array_picture(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(array).save(path)
    return path


def text(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def dump(path: Path, data: Any) -> Path:
    return text(path, json.dumps(data, ensure_ascii=False))


def volume(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> Path:
    """A NIfTI file from an array in NIfTI's own order (columns, rows, slices)."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def as_shown(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A NIfTI array as slices to the head, rows to the back, columns to the patient's left, as nibabel turns it."""
    import nibabel

    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(array, affine))
    return np.asarray(turned.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]
