"""Volumes described by a `dataset.json`: the Medical Segmentation Decathlon and nnU-Net's raw data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases import Affine, Case, CaseSet, Image, Mask, Region, Source
from vesalius.cases.image import AnyArray, Kind
from vesalius.errors import BadInputError, MissingError, UsageError, VesaliusError
from vesalius.sources.layouts.common import source_of
from vesalius.sources.layouts.files import FileIndex, Refused, read_json, stem_of, suffix_of, walk
from vesalius.sources.layouts.layout import Layout
from vesalius.sources.layouts.reports import Lost
from vesalius.sources.layouts.tabular import reason
from vesalius.sources.layouts.volumes import label_regions, volume_images
from vesalius.sources.layouts.writers import free_name, save_png
from vesalius.text.modalities import modality_code

_VOLUMES = frozenset({".nii", ".nii.gz", ".npy"})
#: Words for MR sequences, which data sets write where a modality is asked for.
_SEQUENCES = ("t1", "t2", "flair", "dwi", "adc", "pd", "swi", "t1w", "t2w", "t1gd", "t1ce")


def _description(folder: Path) -> dict[str, Any]:
    file = folder / "dataset.json"
    if not file.is_file():
        raise MissingError("cannot read folder", item=str(folder), why="there is no dataset.json")
    data = read_json(file)
    if not isinstance(data, dict) or not isinstance(data.get("labels"), dict):
        raise BadInputError("cannot read dataset.json", item=str(file), why="it has no `labels`")
    return data


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    return value if isinstance(value, dict) else {}


def modality_of(word: str) -> str:
    """The DICOM code for a modality or an MR sequence; "" when unknown."""
    words = word.replace("-", " ").replace("_", " ").split()
    if any(w.lower() in _SEQUENCES for w in words):
        return "MR"
    return modality_code(word) or next((c for w in words if (c := modality_code(w))), "")


def read_msd(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Volumes of `training` with their label volumes, then those of `test`; ids are file stems."""
    data = _description(folder)
    names = {int(v): str(n) for v, n in data["labels"].items() if str(v).isdecimal() and int(v) != 0}
    channels = [str(v) for v in _mapping(data, "modality").values()]
    modality = modality_of(channels[0]) if channels else ""
    licence = str(data.get("licence") or data.get("license") or layout.licence)
    index = FileIndex(folder)
    for split in ("training", "test"):
        listed = data.get(split) or []
        if not isinstance(listed, list):
            refused.append((f"dataset.json {split}", "it is not a list"))
            continue
        for number, entry in enumerate(listed):
            where = f"dataset.json {split}[{number}]"
            pair = entry if isinstance(entry, dict) else {"image": entry}
            try:
                path = index.find(str(pair.get("image", "")))
                images = volume_images(layout, path, modality=modality)
                regions = []
                if pair.get("label"):
                    label = index.find(str(pair["label"]))
                    regions = label_regions(images[0], label, names, refused=refused)
            except VesaliusError as error:
                refused.append((where, reason(error)))
                continue
            key = stem_of(path.name)
            if len(channels) == len(images) > 1:
                images = [replace(i, meta={**i.meta, "channel": c}) for i, c in zip(images, channels, strict=True)]
            source = replace(source_of(layout, key, "train" if split == "training" else "test"), licence=licence)
            yield Case(id=f"{layout.name}/{key}", images=tuple(images), regions=tuple(regions), source=source)


def read_nnunet(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """One case for each `CASE_0000` file, its channels as images, with the labels of `labelsTr` (and `labelsTs`)."""
    data = _description(folder)
    names, regions_of = _nnunet_labels(data["labels"])
    channels = {int(n): str(v) for n, v in _mapping(data, "channel_names").items() if str(n).isdecimal()}
    ending = str(data.get("file_ending", ".nii.gz"))
    kind: Kind = "3d" if suffix_of("x" + ending) in _VOLUMES else "2d"
    index = FileIndex(folder)
    own = replace(layout, kind=kind)
    for part, split in (("Tr", "train"), ("Ts", "test")):
        found: dict[str, dict[int, Path]] = {}
        for path in walk(folder / f"images{part}") if (folder / f"images{part}").is_dir() else ():
            stem = path.name.removesuffix(ending)
            key, _, channel = stem.rpartition("_")
            if not path.name.endswith(ending) or path.name.startswith(".") or not key or not channel.isdecimal():
                refused.append((f"images{part}/{path.name}", f"it is not named CASE_0000{ending}"))
                continue
            found.setdefault(key, {})[int(channel)] = path
        for key, files in sorted(found.items()):
            try:
                images = [
                    replace(image, meta={**image.meta, "channel": channels.get(n, str(n))})
                    for n, p in sorted(files.items())
                    for image in volume_images(
                        own, index.find(p.relative_to(folder).as_posix()), modality=modality_of(channels.get(n, ""))
                    )
                ]
                regions: list[Region] = []
                label = f"labels{part}/{key}{ending}"
                if (folder / label).is_file():
                    regions = label_regions(images[0], index.find(label), names, refused=refused)
                elif part == "Tr":
                    refused.append((label, "the label file is not there; the case has no regions"))
            except VesaliusError as error:
                refused.append((f"images{part}/{key}", reason(error)))
                continue
            if missing := sorted(set(channels) - set(files)):
                refused.append((f"images{part}/{key}", f"channel {missing[0]} is not there"))
                continue
            regions += _joined(regions, regions_of, names)
            yield Case(
                id=f"{layout.name}/{key}",
                images=tuple(images),
                regions=tuple(regions),
                source=Source(str(data.get("name") or layout.name), str(data.get("licence", "")), split, id=key),
            )


def _nnunet_labels(labels: Mapping[str, Any]) -> tuple[dict[int, str], dict[str, list[int]]]:
    """Value to name, and regions that join several values to those values."""
    single: dict[int, str] = {}
    joined: dict[str, list[int]] = {}
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        if name in {"background", "ignore"} or not all(isinstance(v, int) for v in values):
            continue
        if isinstance(value, list):
            joined[str(name)] = values
        else:
            single[int(value)] = str(name)
    for name, values in joined.items():
        if len(values) == 1:
            single.setdefault(values[0], name)
    for values in joined.values():
        for value in values:
            single.setdefault(value, f"class {value}")
    return single, {n: v for n, v in joined.items() if len(v) > 1}


def _joined(regions: list[Region], wanted: Mapping[str, list[int]], names: Mapping[int, str]) -> list[Region]:
    by_name = {r.label: r.geometry for r in regions if isinstance(r.geometry, Mask)}
    found = []
    for name, values in wanted.items():
        parts = [by_name[names[v]].to_array() for v in values if names.get(v) in by_name]
        if parts:
            found.append(Region(Mask.from_array(np.logical_or.reduce(parts)), name))
    return found


def write_nnunet(cases: CaseSet, out: Path, lost: Lost) -> int:
    """Write `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs` and `dataset.json`: NIfTI for volumes, PNG for pictures.

    Cases of the split `test` go to the Ts folders, all others to Tr. A case's images are its channels; all cases need
    the same channels and kind. Where masks overlap, the later region wins and the overlap is reported.

    Returns:
        Cases written.

    Raises:
        UsageError: There are no cases, or pictures and volumes are mixed.
    """
    numbers: dict[str, int] = {}
    channels: tuple[str, ...] | None = None
    kinds: set[Kind] = set()
    training = written = 0
    for case in cases:
        lost.case(case, holds=("split",), geometry=("mask", "polygon"))
        try:
            named = tuple(str(i.meta.get("channel") or i.modality or "image") for i in case.images)
            if not named or (channels is not None and named != channels):
                raise BadInputError("channels differ", why=f"{named or 'no image'}, the first case has {channels}")
            kinds |= {i.kind for i in case.images}
            if kinds not in ({"2d"}, {"3d"}):
                raise UsageError("cannot write nnU-Net data", item=case.id, why=f"kinds {sorted(kinds)} are mixed")
            arrays = [i.pixels() for i in case.images]
            shape = arrays[0].shape[: 3 if kinds == {"3d"} else 2]
            label = _label_array(case, shape, numbers, lost)
        except BadInputError as error:
            lost.refuse(case.id, reason(error))
            continue
        channels = channels or named
        part = "Ts" if case.source.split == "test" else "Tr"
        key = free_name(out / f"images{part}", case.id.rpartition("/")[2], case.id, lost)
        saved = [
            _save(out / f"images{part}", f"{key}_{n:04d}", array, image, lost)
            for n, (array, image) in enumerate(zip(arrays, case.images, strict=True))
        ]
        if not all(saved):
            lost.refuse(case.id, "its values do not fit a picture of 8 or 16 bits")
            continue
        if part == "Tr" or case.regions:
            _save(out / f"labels{part}", key, label, case.images[0], lost)
        written += 1
        training += part == "Tr"
    if not written:
        raise UsageError("cannot write nnU-Net data", why="no case could be written")
    ending = ".nii.gz" if kinds == {"3d"} else ".png"
    description = {
        "channel_names": {str(n): name for n, name in enumerate(channels or ())},
        "labels": {"background": 0, **numbers},
        "numTraining": training,
        "file_ending": ending,
    }
    (out / "dataset.json").write_text(json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return written


def _label_array(case: Case, shape: tuple[int, ...], numbers: dict[str, int], lost: Lost) -> AnyArray:
    label: AnyArray = np.zeros(shape, np.uint8)
    for region in case.regions:
        geometry = region.geometry
        if not hasattr(geometry, "to_array"):
            rasterise = getattr(geometry, "rasterise", None)
            if rasterise is None or len(shape) != 2:
                continue
            lost.add("polygons", "they became masks")
            geometry = rasterise(*shape)
        mask = geometry.to_array() if isinstance(geometry, Mask) else np.zeros(shape, bool)
        if mask.shape != shape:
            raise BadInputError("mask does not fit the image", why=f"{mask.shape} on {shape}")
        number = numbers.setdefault(region.label or "lesion", len(numbers) + 1)
        if number > 255:
            raise BadInputError("too many classes", why="at most 255 are written")
        if np.any(label[mask]):
            lost.add("overlapping masks", "the later one was kept", int(np.count_nonzero(label[mask])))
        label[mask] = number
    return label


def _save(folder: Path, name: str, array: AnyArray, image: Image, lost: Lost) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    if image.kind == "2d":
        return save_png(array, folder / f"{name}.png")
    import nibabel

    affine = image.affine
    if affine is None:
        affine = Affine.from_spacing(image.spacing or (1.0, 1.0, 1.0))
        lost.add("orientation", "it is not known; rows, columns and slices were written along the patient's axes")
    # NIfTI counts columns first: reverse the axes of the array and of the affine's columns.
    matrix = affine.to_ras()[:, [2, 1, 0, 3]]
    values = array.astype(np.uint8) if array.dtype == bool else array
    picture = nibabel.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0, *range(3, values.ndim))), matrix)
    nibabel.save(picture, folder / f"{name}.nii.gz")
    return True
