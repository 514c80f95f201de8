"""Write stored values: NIfTI, PNG, `.npy`, and DICOM (Secondary Capture, or slices of a CT or MR series)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Affine, Image
from vesalius.errors import UsageError

if TYPE_CHECKING:
    from pydicom import Dataset

AnyArray = npt.NDArray[Any]

_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}


def write_nifti(path: str | os.PathLike[str], array: AnyArray, affine: Affine | None = None) -> Path:
    """Write a volume `(D, H, W)` as NIfTI-1, its axes in NIfTI's order `(W, H, D)`, its affine in RAS.

    Args:
        path: Ends in `.nii` or `.nii.gz`.
        array: Numbers.
        affine: Array index to LPS mm; None writes no orientation.

    Raises:
        UsageError: The array has not three axes.
    """
    import nibabel as nib

    if array.ndim != 3:
        raise UsageError("a NIfTI volume has three axes", item=str(path), why=f"shape {array.shape}")
    data = np.transpose(array, (2, 1, 0))
    if data.dtype == bool:
        data = data.astype(np.uint8)
    if data.dtype in (np.int64, np.uint64):  # NIfTI readers are not at ease with 64-bit integers
        data = data.astype(np.int32)
    ras = np.eye(4) if affine is None else affine.to_ras()[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(data, ras)
    image.set_sform(ras, 0 if affine is None else 1)
    image.set_qform(ras, 0 if affine is None else 1, strip_shears=True)
    nib.save(image, str(path))
    return Path(path)


def write_png(path: str | os.PathLike[str], array: AnyArray) -> Path:
    """Write uint8 grey or RGB, or uint16 grey, as PNG.

    Raises:
        UsageError: Another type or shape.
    """
    from PIL import Image

    colour = array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    if not colour and not (array.ndim == 2 and array.dtype in (np.uint8, np.uint16)):
        raise UsageError(
            "PNG takes uint8 grey or RGB, or uint16 grey",
            item=str(path),
            why=f"{array.dtype} of shape {array.shape}",
            fix="turn it into what a screen shows with vesalius.render.display.to_display",
        )
    Image.fromarray(np.ascontiguousarray(array)).save(path, format="PNG")
    return Path(path)


def secondary_capture(array: AnyArray, *, uid_seed: str = "", modality: str = "OT") -> Dataset:
    """A Secondary Capture data set that holds uint8 or uint16 grey, or uint8 RGB, and no patient.

    Args:
        array: `(H, W)` or `(H, W, 3)`.
        uid_seed: Text that the UIDs are made from; the content by default.
        modality: Modality code.

    Raises:
        UsageError: Another type or shape.
    """
    colour = array.ndim == 3 and array.shape[-1] == 3 and array.dtype == np.uint8
    if not colour and not (array.ndim == 2 and array.dtype in (np.uint8, np.uint16, np.int16)):
        raise UsageError("DICOM pixels must be 8 or 16 bits", why=f"{array.dtype} of shape {array.shape}")
    seed = uid_seed or hashlib.sha256(array.tobytes()).hexdigest()
    ds = _dataset(_SECONDARY, seed, modality)
    ds.ConversionType = "WSD"
    _set_pixels(ds, array)
    return ds


def write_mask(path: str | os.PathLike[str], mask: AnyArray, image: Image) -> Path:
    """A mask as NIfTI on the voxel grid of the file that its image came from, so that the two can be laid over another.

    A NIfTI source keeps its own axes, shape and affine (reading turned it); a DICOM series gives columns, rows, slices
    and the affine of its positions; a picture gives columns, rows and one slice.

    Args:
        path: `.nii` or `.nii.gz`.
        mask: `(H, W)` or `(D, H, W)`, in the image's own shape.
        image: What it lies on.
    """
    stack = mask[None] if mask.ndim == 2 else mask
    source = image.path
    if image.meta.get("format") == "nifti" and source is not None and source.is_file():
        from vesalius.io.formats.blob import Blob
        from vesalius.io.formats.nifti import stored_grid
        from vesalius.io.limits import DEFAULT

        with Blob(source, str(image.meta.get("member", "")), str(image.uri)).open(DEFAULT) as stream:
            stack, affine = stored_grid(stack, stream, str(image.uri), DEFAULT)
        return write_nifti(path, stack, affine)
    return write_nifti(path, stack, image.affine)


def series(
    array: AnyArray, affine: Affine, *, modality: str = "CT", uid_seed: str = "", intercept: int = 0
) -> list[Dataset]:
    """One data set for each slice of a volume `(D, H, W)`, positions and orientation from its affine.

    Args:
        array: int16 or uint16 modality values.
        affine: Array index to LPS mm; rows and columns must be perpendicular.
        modality: `CT` or `MR`.
        uid_seed: Text that the UIDs are made from; the content by default.
        intercept: Rescale intercept; it is taken off before the values are stored.

    Raises:
        UsageError: Another modality, type or shape.
    """
    if modality not in _CLASSES or array.ndim != 3 or array.dtype not in (np.int16, np.uint16):
        raise UsageError("cannot write this as a series", why=f"{modality}, {array.dtype} of shape {array.shape}")
    m = affine.matrix
    gap, rows, columns = affine.spacing
    cosines = [*(m[:3, 2] / columns), *(m[:3, 1] / rows)]
    seed = uid_seed or hashlib.sha256(array.tobytes() + m.tobytes()).hexdigest()
    out = []
    for n, plane in enumerate(array):
        ds = _dataset(_CLASSES[modality], seed, modality, f"{n}")
        ds.FrameOfReferenceUID = uid_from(f"{seed}/frame")
        ds.InstanceNumber = n + 1
        ds.ImageOrientationPatient = [_ds(c) for c in cosines]
        ds.ImagePositionPatient = [_ds(p) for p in affine.to_patient((n, 0, 0))]
        ds.PixelSpacing = [_ds(rows), _ds(columns)]
        ds.SliceThickness = _ds(gap)
        ds.RescaleIntercept, ds.RescaleSlope = intercept, 1
        _set_pixels(ds, (plane.astype(np.int32) - intercept).astype(plane.dtype))
        out.append(ds)
    return out


def _dataset(sop_class: str, seed: str, modality: str, n: str = "0") -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UID(sop_class), UID(uid_from(f"{seed}/{n}"))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid_from(f"{seed}/study"), uid_from(f"{seed}/series")
    ds.Modality = modality
    ds.PatientName = ds.PatientID = ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _set_pixels(ds: Dataset, array: AnyArray) -> None:
    bits = array.dtype.itemsize * 8
    ds.Rows, ds.Columns = array.shape[:2]
    ds.SamplesPerPixel = 3 if array.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"


def uid_from(seed: str) -> str:
    """A UID under 2.25 (PS3.5 B.2) that is the same whenever the text is."""
    return f"2.25.{int.from_bytes(hashlib.sha256(seed.encode()).digest()[:15], 'big')}"


def _ds(value: float) -> str:
    """A decimal string: at most 16 characters (PS3.5 6.2)."""
    text = f"{float(value):.10g}"
    return text if len(text) <= 16 else f"{float(value):.8e}"[:16]
