"""MedMNIST and MedMNIST+ archives: arrays of pictures or volumes with numbered classes, read split by split."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from vesalius.cases import Case, CaseSet, Image, Label
from vesalius.cases.image import AnyArray, Kind
from vesalius.errors import BadInputError, ResourceError, UsageError
from vesalius.sources.layouts.common import pick, source_of
from vesalius.sources.layouts.files import Refused
from vesalius.sources.layouts.layout import CLASS, Layout
from vesalius.sources.layouts.medmnist_sets import MedMnistSet, set_of
from vesalius.sources.layouts.reports import Lost
from vesalius.sources.layouts.tabular import reason

SPLITS = ("train", "val", "test")
#: Largest array read, in bytes: the largest published one (ChestMNIST at 224 px, 78,468 pictures) has 4 GB.
MAX_ARRAY = 64 * 2**30
#: Member with the class names, which the official files lack; ours carry them so that nothing is lost.
NAMES_MEMBER = "class_names.npy"


def read(layout: Layout, folder: Path, refused: Refused) -> Iterator[Case]:
    """Cases of every archive in a folder; one split of one archive is in memory at a time.

    Ids are `medmnist/NAME/SPLIT/NUMBER`. Sets with one class each get the label `class`, ChestMNIST its fourteen
    findings as present or absent, RetinaMNIST a grade.
    """
    for file in pick(folder, "*.npz"):
        try:
            with zipfile.ZipFile(file) as archive:
                yield from _read_archive(layout, file, archive, refused)
        except (zipfile.BadZipFile, BadInputError, ResourceError, OSError, ValueError) as error:
            refused.append((file.name, reason(error)))


def member(archive: zipfile.ZipFile, name: str) -> AnyArray:
    """One array of an archive, its header checked before anything is allocated.

    Raises:
        BadInputError: It holds objects, or its size is not what its header says.
        ResourceError: It is larger than `MAX_ARRAY`.
    """
    info = archive.getinfo(name)
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream, name)
        size = dtype.itemsize
        for n in shape:
            size *= n
        if dtype.hasobject or dtype.names is not None:
            raise BadInputError("cannot read array", item=name, why=f"it holds {dtype}, not plain numbers")
        if size > MAX_ARRAY:
            raise ResourceError("array is too large", item=name, why=f"{size} bytes, at most {MAX_ARRAY} are read")
        if not size <= info.file_size <= size + 65536:
            raise BadInputError("cannot read array", item=name, why="its size is not what its header says")
        array, at = np.empty(size, np.uint8), 0
        while at < size and (chunk := stream.read(min(2**24, size - at))):
            array[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
        if at != size:
            raise BadInputError("cannot read array", item=name, why=f"it ends after {at} of {size} bytes")
    order: Literal["C", "F"] = "F" if fortran else "C"
    return array.view(dtype).reshape(shape, order=order)


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise BadInputError("cannot read array", item=name, why=f"npy version {version} is not known")


def _read_archive(layout: Layout, file: Path, archive: zipfile.ZipFile, refused: Refused) -> Iterator[Case]:
    base, known = set_of(file.stem)
    members = set(archive.namelist())
    classes = known.classes if known else _names(archive, members)
    if not known and not classes:
        refused.append((file.name, "it is none of the MedMNIST sets, so its classes have numbers instead of names"))
    for split in SPLITS:
        if f"{split}_images.npy" not in members:
            continue
        labels = member(archive, f"{split}_labels.npy")
        images = member(archive, f"{split}_images.npy")
        if len(labels) != len(images) or labels.ndim > 2 or not 3 <= images.ndim <= 5:
            why = f"{images.shape} images and {labels.shape} labels do not fit"
            refused.append((f"{file.name}:{split}", why))
            continue
        labels = labels.reshape(len(labels), -1)
        kind = _kind(images, base)
        for n, (pixels, values) in enumerate(zip(images, labels, strict=True)):
            try:
                named = _labels(known, classes, values)
            except (ValueError, OverflowError) as error:
                refused.append((f"{file.name}:{split}[{n}]", str(error)))
                continue
            yield Case(
                id=f"{layout.name}/{file.stem}/{split}/{n:06d}",
                images=(
                    Image(
                        array=pixels,
                        modality=known.modality if known else "",
                        view=known.view if known else "",
                        body_part=known.body_part if known else "",
                        kind=kind,
                    ),
                ),
                labels=named,
                source=source_of(layout, f"{file.stem}/{split}/{n}", split),
            )


def _kind(images: AnyArray, base: str) -> Kind:
    """Pictures unless the name says 3-d or there is a third long axis."""
    if images.ndim == 5 or (images.ndim == 4 and (base.endswith("3d") or images.shape[-1] > 4)):
        return "3d"
    return "2d"


def _names(archive: zipfile.ZipFile, members: set[str]) -> tuple[str, ...]:
    if NAMES_MEMBER not in members:
        return ()
    array = member(archive, NAMES_MEMBER)
    return tuple(str(name) for name in array.tolist()) if array.dtype.kind == "U" else ()


def _labels(known: MedMnistSet | None, classes: tuple[str, ...], values: AnyArray) -> dict[str, Label]:
    numbers = [int(v) for v in values]
    if any(n != v for n, v in zip(numbers, values, strict=True)) or min(numbers, default=0) < 0:
        raise ValueError(f"label {values.tolist()} is not a class number")
    if len(numbers) > 1 or (known and known.task == "labels"):
        names = classes or tuple(str(n) for n in range(len(numbers)))
        if len(names) != len(numbers) or any(n > 1 for n in numbers):
            raise ValueError(f"labels {numbers} are not {len(names)} times 0 or 1")
        return {name: Label(n) for name, n in zip(names, numbers, strict=True)}
    if classes and numbers[0] >= len(classes):
        raise ValueError(f"class {numbers[0]} is not one of {len(classes)}")
    if known and known.grade:
        return {known.grade: Label(numbers[0], "{grade}")}
    return {CLASS: Label(classes[numbers[0]] if classes else numbers[0])}


def write(cases: CaseSet, out: Path, lost: Lost, *, label: str = CLASS) -> int:
    """Write `OUT/NAME.npz` with one array of images and of class numbers for each split.

    Args:
        cases: Every case needs one image of the same shape and type, and the label. Cases without a split, or with
            another than train, val and test, go to train.
        out: Folder.
        lost: Gets what the layout cannot hold.
        label: The label that becomes the class number.

    Returns:
        Cases written.

    Raises:
        BadInputError: The images differ in shape or type.
        UsageError: No case has the label.
    """
    values = sorted({str(v) for case in cases if (v := case.label(label)) is not None})
    if not values:
        raise UsageError("cannot write MedMNIST", item=label, why="no case has this label", fix="name another label")
    parts: dict[str, tuple[list[AnyArray], list[int]]] = {s: ([], []) for s in SPLITS}
    shape: tuple[Any, ...] | None = None
    for case in cases:
        value = case.label(label)
        if value is None or not case.images:
            lost.refuse(case.id, f"it has no image or no label {label!r}")
            continue
        lost.case(case, holds=("image", "label", "split"), label=label, images=1)
        array = case.images[0].pixels()
        if shape is None:
            shape = (array.shape, array.dtype)
        if (array.shape, array.dtype) != shape:
            raise BadInputError(
                "cannot write MedMNIST",
                item=case.id,
                why=f"its image is {array.shape} {array.dtype}, the first was {shape[0]} {shape[1]}",
                fix="resize the images first",
            )
        if case.source.split not in SPLITS:
            lost.add("split", f"{case.source.split or 'no split'} became train")
        images, labels = parts[case.source.split if case.source.split in SPLITS else "train"]
        images.append(array)
        labels.append(values.index(str(value)))
    arrays: dict[str, AnyArray] = {"class_names": np.array(values)}
    empty = (0, *shape[0]) if shape else (0,)
    for split, (images, labels) in parts.items():
        arrays[f"{split}_images"] = np.stack(images) if images else np.zeros(empty, shape[1] if shape else np.uint8)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8 if len(values) < 256 else np.int64).reshape(-1, 1)
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / "cases.npz", **arrays)  # type: ignore[arg-type] # numpy's stub takes no dict of arrays
    (out / "classes.json").write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return sum(len(labels) for _, labels in parts.values())
