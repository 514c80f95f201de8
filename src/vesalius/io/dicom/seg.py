"""Write masks as a DICOM Segmentation (SEG, PS3.3 A.51), through highdicom.

Three kinds of image can carry one. Slices (or frames) of a DICOM object: the SEG belongs to the same patient, study
and frame of reference and refers to each of them. A single DICOM picture without a place in the patient, such as a
chest film: the SEG refers to it and says no more about where it is. A volume with an affine and no DICOM header: the
SEG gets a study and a frame of reference of its own, made from the image's content and place, and no patient.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius import __version__
from vesalius.cases import Affine, Image
from vesalius.errors import BadInputError, UsageError
from vesalius.io.dicom.parse import load, quiet
from vesalius.io.dicom.seg_codes import Code, property_codes
from vesalius.io.limits import DEFAULT, Limits
from vesalius.io.pixels import open_files
from vesalius.io.write import series

if TYPE_CHECKING:
    from pydicom import Dataset

BoolArray = npt.NDArray[np.bool_]

#: What the patient and study modules must at least hold empty (type 2).
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_MUST_BE_THERE = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
#: What pydicom and highdicom raise over headers that make no sense.
_FAULTS = (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError, OverflowError)
#: Cosine that keeps the last of 512 columns within a twentieth of a pixel of its place.
_RIGHT_ANGLE = 1e-4
#: Characters of a long string (LO, PS3.5 6.2).
_LONG_STRING = 64


@dataclass(frozen=True)
class Segment:
    """One region.

    Args:
        label: Its name; "" is written as `region N`.
        mask: True inside: `(D, H, W)`, or `(H, W)` for a picture.
    """

    label: str
    mask: BoolArray


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What made the masks.

    Args:
        name: Model name.
        version: Its version or fingerprint.
        automatic: Nobody clicked or drew.
    """

    name: str
    version: str
    automatic: bool = False


def write_seg(
    path: str | os.PathLike[str],
    image: Image,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    *,
    limits: Limits | None = None,
) -> Path:
    """Write a binary DICOM SEG; see `segmentation` for arguments and errors."""
    segmentation(image, segments, algorithm, limits=limits).save_as(path, enforce_file_format=True)
    return Path(path)


def segmentation(
    image: Image, segments: Sequence[Segment], algorithm: Algorithm, *, limits: Limits | None = None
) -> Dataset:
    """A binary DICOM SEG of masks in an image's own grid. Slices without a pixel inside are left out.

    Args:
        image: The image that was segmented, as `io.read` gives it; only its headers are read.
        segments: At least one, all of the image's shape; they may overlap.
        algorithm: What made them.
        limits: Budgets for reading the headers.

    Raises:
        UsageError: No segment, a mask of another shape, or an image that no SEG can refer to (`require_carrier`).
        BadInputError: The source's headers lack what a SEG must repeat.
    """
    masks = _stacked(image, segments)
    require_carrier(image)
    if image.affine is not None and not _from_dicom(image):
        return _of_volume(image, image.affine, masks, segments, algorithm)
    try:
        return _of_dicom(image, masks, segments, algorithm, limits or DEFAULT)
    except _FAULTS as error:
        why = _without_values(error)
        raise BadInputError("cannot write a DICOM SEG of this image", item=_name(image), why=why) from error


def require_carrier(image: Image) -> None:
    """Refuse an image that no SEG can refer to, before anything is spent on its masks.

    Raises:
        UsageError: A picture with neither a DICOM header nor an affine, a loop, or an affine whose rows and columns are
            not perpendicular.
    """
    fix = "ask for png, json or nifti"
    if image.kind == "video":
        raise UsageError("a loop's frames have no place in a DICOM SEG", item=_name(image), fix=fix)
    if _from_dicom(image):
        return
    if image.affine is None:
        raise UsageError(
            "a DICOM SEG needs a DICOM image or a place in the patient",
            item=_name(image),
            why="the image has neither DICOM headers nor an affine",
            fix=fix,
        )
    m = image.affine.matrix[:3, :3] / image.affine.spacing
    if abs(float(m[:, 1] @ m[:, 2])) > _RIGHT_ANGLE:
        raise UsageError(
            "a DICOM SEG needs rows and columns at right angles",
            item=_name(image),
            why=f"their cosine is {float(m[:, 1] @ m[:, 2]):.3g}",
            fix="resample the image, or ask for nifti",
        )


def _from_dicom(image: Image) -> bool:
    return image.meta.get("format") == "dicom" and bool(image.uri)


def _of_dicom(
    image: Image, masks: BoolArray, segments: Sequence[Segment], algorithm: Algorithm, limits: Limits
) -> Dataset:
    headers: dict[int, Dataset] = {}
    with quiet():
        for place, stream, item in open_files(image, limits):
            headers[place] = _complete(load(stream, item, limits, pixels=False)[0], item)
    sources = [headers[place] for place in sorted(headers)]
    frames = int(sources[0].get("NumberOfFrames") or 1) if len(sources) == 1 else 1
    if frames > 1:
        # Frames of one object are segmented in its own order, whatever order the volume was stacked in.
        chosen = image.meta.get("frames") or ([image.frame] if image.frame is not None else list(range(frames)))
        whole = np.zeros((frames, *masks.shape[1:]), bool)
        whole[np.asarray(chosen, int)] = masks
        masks = whole
    return _written(sources, masks, segments, algorithm, _name(image))


def _of_volume(
    image: Image, affine: Affine, masks: BoolArray, segments: Sequence[Segment], algorithm: Algorithm
) -> Dataset:
    import highdicom as hd

    m = affine.matrix[:3]
    _, rows, columns = affine.spacing
    along_row, down_column = m[:, 2] / columns, m[:, 1] / rows
    # Not the step's length where slices are sheared, and the same for grids of either hand: frames say where they are.
    gap = abs(float(np.cross(along_row, down_column) @ m[:, 0]))
    positions = affine.to_patient([(k, 0, 0) for k in range(len(masks))])
    # highdicom takes study and frame of reference from a source image; this one is taken out again below.
    seed = f"vesalius/{image.content_hash()}/{affine.to_dict()}"
    blank = series(np.zeros((1, *masks.shape[1:3]), np.int16), affine, uid_seed=seed)
    ds = _written(
        blank,
        masks,
        segments,
        algorithm,
        _name(image),
        pixel_measures=hd.PixelMeasuresSequence((rows, columns), gap, gap),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [*along_row, *down_column]),
        plane_positions=[hd.PlanePositionSequence("PATIENT", p) for p in positions],
    )
    for name in ("ReferencedSeriesSequence", "SourceImageSequence"):
        if name in ds:
            delattr(ds, name)
    for group in [*ds.SharedFunctionalGroupsSequence, *ds.PerFrameFunctionalGroupsSequence]:
        if "DerivationImageSequence" in group:
            del group.DerivationImageSequence
    return ds


def _written(
    sources: list[Dataset],
    masks: BoolArray,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    item: str,
    **geometry: Any,
) -> Dataset:
    import highdicom as hd
    from pydicom.uid import generate_uid

    try:
        with quiet():
            ds: Dataset = hd.seg.Segmentation(
                source_images=sources,
                pixel_array=masks.view(np.uint8),
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_described(n, s.label, algorithm) for n, s in enumerate(segments, 1)],
                # Two runs are two instances even when their masks agree: they differ in the time they carry.
                series_instance_uid=generate_uid(prefix=None),
                sop_instance_uid=generate_uid(prefix=None),
                series_number=1,
                instance_number=1,
                manufacturer="vesalius",
                manufacturer_model_name="vesalius",
                software_versions=__version__,
                device_serial_number=_text(algorithm.version) or "0",
                content_label="SEGMENTATION",
                content_description=_text(f"masks by {algorithm.name}"),
                specific_character_set="ISO_IR 192",
                **geometry,
            )
    except _FAULTS as error:
        raise BadInputError(
            "cannot write a DICOM SEG of this image",
            item=item,
            why=_without_values(error),
            fix="ask for png, json or nifti",
        ) from error
    shared = ds.SharedFunctionalGroupsSequence[0]
    if "PlaneOrientationSequence" not in shared:  # a film says how it lies as its source does (PS3.3 C.7.6.1.1.1)
        ds.PatientOrientation = sources[0].get("PatientOrientation") or ""
    measures = shared.get("PixelMeasuresSequence")
    if measures and "SliceThickness" not in measures[0]:
        # Measures without a thickness are none (C.7.6.16.2.1); a picture's size in mm may be left to its source.
        if "SpacingBetweenSlices" in measures[0]:
            measures[0].SliceThickness = measures[0].SpacingBetweenSlices
        else:
            del shared.PixelMeasuresSequence
    return ds


def _described(number: int, label: str, algorithm: Algorithm) -> Any:
    """One item of the Segment Sequence."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    kind = property_codes(label)
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=_text(label) or f"region {number}",
        segmented_property_category=_coded(kind.category),
        segmented_property_type=_coded(kind.type),
        algorithm_type="AUTOMATIC" if algorithm.automatic else "SEMIAUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_text(algorithm.name) or "vesalius",
            version=_text(algorithm.version) or __version__,
            family=codes.DCM.ArtificialIntelligence,
        ),
    )
    if kind.side is not None:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_coded(kind.side)]
    return described


def _coded(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(*code)


def _text(text: str) -> str:
    """Text that fits a long string: one line, no backslash (it divides values), at most 64 characters."""
    return " ".join(text.replace("\\", "/").split())[:_LONG_STRING].strip()


def _without_values(error: Exception) -> str:
    """What went wrong, without the values that such messages quote: one may be a name or a date of birth."""
    text = str(error) if isinstance(error, AttributeError) else re.sub(r"(['\"]).*\1", "(a value)", str(error))
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"


def _complete(ds: Dataset, item: str) -> Dataset:
    """A source header that holds everything a SEG repeats; what may be empty is."""
    lacking = [k for k in _MUST_BE_THERE if not ds.get(k)]
    if lacking:
        raise BadInputError(
            "a DICOM SEG cannot refer to this file",
            item=item,
            why=f"it has no {', '.join(lacking)}",
            fix="ask for png, json or nifti",
        )
    for keyword in _MAY_BE_EMPTY:
        if keyword not in ds:
            setattr(ds, keyword, "")
    if "ImagePositionPatient" in ds and "SliceThickness" not in ds:
        ds.SliceThickness = None
    # Dots and colons are of the standard before DICOM, still met and still to be read (PS3.5 6.2).
    for keyword, mark in (("StudyDate", "."), ("PatientBirthDate", "."), ("StudyTime", ":")):
        setattr(ds, keyword, str(ds.get(keyword) or "").replace(mark, ""))
    return ds


def _stacked(image: Image, segments: Sequence[Segment]) -> BoolArray:
    """`(D, H, W, segments)`, checked against the image's shape."""
    if not segments:
        raise UsageError("nothing to write into a DICOM SEG", item=_name(image))
    shape = tuple((image.shape or image.pixels().shape)[: 2 if image.kind == "2d" else 3])
    for s in segments:
        if s.mask.shape != shape:
            raise UsageError(
                "a mask is not of the image's shape", item=s.label or _name(image), why=f"{s.mask.shape} on {shape}"
            )
    stack = np.stack([s.mask.astype(bool, copy=False) for s in segments], axis=-1)
    return stack[None] if image.kind == "2d" else stack


def _name(image: Image) -> str:
    return str(image.uri or "array")
