"""Real images that Python packages bring: DICOM test files, a fundus, stained tissue, nuclei, a brain atlas.

Small, free to use, and offline: enough to show every verb on real files. What each shows was looked up once and is
written here, so that answers can be checked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases import Case, CaseSet, Image, Label, Source
from vesalius.errors import VesaliusError
from vesalius.io import read
from vesalius.job import Job

#: DICOM file (of pydicom or pydicom-data) to modality and anatomy, "" where the picture does not tell. Test charts,
#: copies in another encoding and files that need an extra decoder are left out.
_DICOM: dict[str, tuple[str, str]] = {
    "693_J2KR.dcm": ("CT", "head"),
    "CT_small.dcm": ("CT", "spine"),
    "explicit_VR-UN.dcm": ("CT", "abdomen"),
    "J2K_pixelrep_mismatch.dcm": ("CT", "head"),
    "eCT_Supplemental.dcm": ("CT", "head"),
    "JPEG2000.dcm": ("NM", "whole body"),
    "MR-SIEMENS-DICOM-WithOverlays.dcm": ("MR", "abdomen"),
    "examples_overlay.dcm": ("MR", "abdomen"),
    "MR2_J2KR.dcm": ("MR", "shoulder"),
    "MR_small.dcm": ("MR", ""),
    "emri_small.dcm": ("MR", ""),
    "OBXXXX1A.dcm": ("US", ""),
    "US1_J2KR.dcm": ("US", "lymph node"),
    "color-pl.dcm": ("US", "heart"),
    "color3d_jpeg_baseline.dcm": ("US", "heart"),
    "examples_ybr_color.dcm": ("US", "heart"),
    "examples_rgb_color.dcm": ("US", "lymph node"),
    "examples_palette.dcm": ("US", ""),
    "gdcm-US-ALOKA-16.dcm": ("US", ""),
    "examples_jpeg2k.dcm": ("US", "lymph node"),
    "RG1_J2KR.dcm": ("CR", "chest"),
    "RG3_J2KR.dcm": ("CR", "leg"),
}


@dataclass(frozen=True)
class Bundled:
    """What was found.

    Args:
        cases: Cases; labels `modality` and `anatomy` are the truth.
        missing: Packages that are not installed or whose images could not be read, with the reason.
    """

    cases: CaseSet
    missing: tuple[tuple[str, str], ...]


def bundled() -> Bundled:
    """Gather every image there is; a package that is not there is named and passed over."""
    cases: list[Case] = []
    missing: list[tuple[str, str]] = []
    for name, package, gather in _SOURCES:
        folder = _folder(package)
        if folder is None:
            missing.append((name, f"package {package} is not installed"))
            continue
        try:
            cases += gather(folder)
        except (OSError, VesaliusError) as error:
            missing.append((name, str(error)))
    return Bundled(CaseSet(cases, name="bundled"), tuple(missing))


def _pydicom(folder: Path) -> Iterator[Case]:
    return _dicom(folder / "data" / "test_files", "pydicom")


def _pydicom_data(folder: Path) -> Iterator[Case]:
    return _dicom(folder / "data", "pydicom-data")


def _dicom(folder: Path, dataset: str) -> Iterator[Case]:
    paths = [folder / name for name in _DICOM if (folder / name).is_file()]
    if not paths:
        return
    for case in read(paths, Job(workers=1)):
        name = Path(str(case.images[0].uri)).name
        kept = case.replace(id=f"{dataset}/{Path(name).stem}", source=Source(dataset, "MIT", id=name))
        yield _told(kept, *_DICOM[name])


def _skimage(folder: Path) -> Iterator[Case]:
    shown = {
        "retina.jpg": ("OP", "retina", 1),
        "microaneurysms.png": ("OP", "retina", 1),
        "ihc.png": ("SM", "colon", 4),
        "cell.png": ("GM", "cells", 1),
    }
    for name, (modality, anatomy, tiles) in shown.items():
        path = folder / "data" / name
        if not path.is_file():
            continue
        image = Image(uri=str(path), modality=modality, body_part=anatomy)
        yield from _tiles(image, tiles, f"scikit-image/{path.stem}", modality, anatomy, "scikit-image")


def _stardist(folder: Path) -> Iterator[Case]:
    path = folder / "data" / "images" / "img2d.tif"
    if path.is_file():
        image = Image(uri=str(path), modality="GM", body_part="cells")
        yield from _tiles(image, 4, "stardist/img2d", "GM", "cells", "stardist")


def _nilearn(folder: Path) -> Iterator[Case]:
    """Slices of the MNI template in three planes; all are one head, so they share a patient."""
    path = folder / "datasets" / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        return
    for volume in read(path, Job(workers=1)):
        values = volume.images[0].pixels()
        for axis, plane in enumerate(("axial", "coronal", "sagittal")):
            for share in (0.28, 0.34, 0.4, 0.46, 0.52, 0.58, 0.64, 0.7, 0.76):
                cut = np.take(values, int(share * values.shape[axis]), axis=axis)[::-1]
                image = Image(array=np.ascontiguousarray(cut), modality="MR", body_part="head", meta={"plane": plane})
                case = Case(
                    f"nilearn/mni152-{plane}-{int(100 * share)}",
                    "mni152",
                    images=(image,),
                    source=Source("nilearn", "MNI, free to use with its notice"),
                )
                yield _told(case, "MR", "head")


def _tiles(image: Image, tiles: int, id: str, modality: str, anatomy: str, dataset: str) -> Iterator[Case]:
    """The picture itself, or its quarters; all are one patient."""
    array = image.pixels()
    half = (array.shape[0] // 2, array.shape[1] // 2)
    corners = [(0, 0), (0, half[1]), (half[0], 0), half] if tiles == 4 else [(0, 0)]
    for n, (y, x) in enumerate(corners):
        part = array if tiles == 1 else array[y : y + half[0], x : x + half[1]]
        shown = Image(array=np.ascontiguousarray(part), modality=modality, body_part=anatomy)
        name = id if tiles == 1 else f"{id}-{n}"
        yield _told(Case(name, id, images=(shown,), source=Source(dataset)), modality, anatomy)


def _told(case: Case, modality: str, anatomy: str) -> Case:
    labels: dict[str, Any] = {"modality": Label(modality), "anatomy": Label(anatomy or None)}
    return case.replace(labels=labels)


_SOURCES: tuple[tuple[str, str, Callable[[Path], Iterator[Case]]], ...] = (
    ("pydicom", "pydicom", _pydicom),
    ("pydicom-data", "data_store", _pydicom_data),
    ("scikit-image", "skimage", _skimage),
    ("stardist", "stardist", _stardist),
    ("nilearn", "nilearn", _nilearn),
)


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
