"""Look at one file (in a child process, usually): what is it, and which cases or DICOM headers does it hold?"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from vesalius.cases import Case, Image, Label, Report
from vesalius.errors import BadInputError
from vesalius.io.dicom.header import Header, Segmentation, read_header
from vesalius.io.dicom.pseudonyms import pseudonym
from vesalius.io.formats.archive import Member, bounded, list_members
from vesalius.io.formats.blob import Blob
from vesalius.io.formats.members import reading
from vesalius.io.formats.pairs import voxels_of
from vesalius.io.formats.sidecar import read_sidecar
from vesalius.io.formats.sniff import HEAD, sniff
from vesalius.io.formats.stream import size_of
from vesalius.io.limits import Limits
from vesalius.io.pool.messages import pack_error

#: Members of an archive that are looked at in one go.
CHUNK = 512
#: Larger files are identified by their size and both ends.
WHOLE = 256 * 2**20
_END = 8 * 2**20

#: An error as `messages.pack_error` packs it.
Packed = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Task:
    """A file to look at, or a run of an archive's members."""

    path: Path
    item: str
    root: Path | None
    start: int = 0
    stop: int = 0


@dataclass(frozen=True, slots=True)
class Members:
    """An archive that holds this many files: its runs are looked at next."""

    count: int


Found = Case | Header | Segmentation | Members | Packed


def scan(task: Task, limits: Limits, key: bytes) -> list[Found]:
    """What a file holds; a bad member of an archive is an error in the list, a bad file raises.

    Raises:
        VesaliusError: The file cannot be used.
    """
    if task.stop:
        return _scan_members(task, limits, key)
    blob = Blob(task.path, "", task.item)
    with blob.open(limits) as stream:
        fmt = sniff(stream.read(HEAD), blob, limits)
        stream.seek(0)
        if fmt in ("zip", "tar"):
            stream.close()
            return [Members(len(list_members(task.path, limits, task.item)))]
        return _scan_stream(fmt, stream, blob, task, limits, key)


def _scan_members(task: Task, limits: Limits, key: bytes) -> list[Found]:
    out: list[Found] = []
    with reading(task.path, limits, task.item) as reader:
        for member, stream in reader.walk(task.start, task.stop):
            name = PurePath(member.name).name
            if name.startswith(".") or member.name.startswith("__MACOSX/") or name == "DICOMDIR":
                continue
            blob = Blob(task.path, member.name, f"{task.item}!{member.name}")
            try:
                out += _scan_member(member, stream, blob, task, limits, key)
            except Exception as error:  # one bad member must not cost the others
                out.append(pack_error(error, blob.name))
    return out


def _scan_member(member: Member, stream: BinaryIO, blob: Blob, task: Task, limits: Limits, key: bytes) -> list[Found]:
    data = io.BytesIO(b"".join(bounded(stream, member, limits, blob.name)))
    fmt = sniff(data.read(HEAD), blob, limits)
    if fmt in ("zip", "tar"):
        raise BadInputError("an archive within an archive is not read", item=blob.name, fix="unpack it first")
    data.seek(0)
    return _scan_stream(fmt, data, blob, task, limits, key)


def _scan_stream(fmt: str, stream: BinaryIO, blob: Blob, task: Task, limits: Limits, key: bytes) -> list[Found]:
    if fmt == "dicom":
        return [read_header(stream, blob.name, limits, path=str(blob.path), member=blob.member)]
    if fmt == "nifti":
        from vesalius.io.formats.nifti import scan_nifti

        images = scan_nifti(stream, blob.name, limits)
        if images[0]["meta"].get("pair"):
            return [_pair(images, stream, blob, task, limits, key)]
    elif fmt == "raster":
        from vesalius.io.formats.raster import scan_raster

        images = [scan_raster(stream, blob.name, limits)]
    elif fmt == "video":
        from vesalius.io.formats.video import scan_video

        images = [scan_video(stream, blob.name, limits)]
    else:
        from vesalius.io.formats.arrays import scan_array

        images = [scan_array(stream, blob.name, limits)]
    digest, whole = _digest(stream)
    side = {} if blob.member else read_sidecar(blob.path, blob.name, limits)
    return [_case(images, digest, whole, blob, task, side, key)]


def _pair(images: list[dict[str, Any]], stream: BinaryIO, blob: Blob, task: Task, limits: Limits, key: bytes) -> Case:
    """A volume whose voxels lie in a file of their own: both files tell it from others."""
    with voxels_of(blob).open(limits) as voxels:
        digest = hashlib.sha256((_digest(stream)[0] + _digest(voxels)[0]).encode()).hexdigest()
    side = {} if blob.member else read_sidecar(blob.path, blob.name, limits)
    return _case(images, digest, False, blob, task, side, key)


def _digest(stream: BinaryIO) -> tuple[str, bool]:
    size = size_of(stream)
    stream.seek(0)
    if size <= WHOLE:
        return hashlib.file_digest(stream, "sha256").hexdigest(), True  # type: ignore[arg-type] # a BinaryIO reads
    h = hashlib.sha256(f"{size}".encode())
    h.update(stream.read(_END))
    stream.seek(size - _END)
    h.update(stream.read(_END))
    return h.hexdigest(), False


def _case(
    images: list[dict[str, Any]], digest: str, whole: bool, blob: Blob, task: Task, side: dict[str, Any], key: bytes
) -> Case:
    uri = str(blob.path.absolute()) if task.root is None else PurePath(blob.path.relative_to(task.root)).as_posix()
    made = []
    for fields in images:
        meta = {**fields.pop("meta"), **({"member": blob.member} if blob.member else {})}
        for name in ("modality", "view", "body_part"):
            if side.get(name):
                fields[name] = str(side[name])[:64]
        fields["modality"] = fields.get("modality", "").upper()
        fields["body_part"] = fields.get("body_part", "").lower()
        if isinstance(side.get("spacing"), list) and not fields.get("spacing"):
            fields["spacing"] = tuple(float(s) for s in side["spacing"])
        made.append(
            Image(uri=uri, root=task.root, sha256=digest if whole and not blob.member else "", meta=meta, **fields)
        )
    report = side.get("report")
    labels = side.get("labels") if isinstance(side.get("labels"), dict) else {}
    faults = dict.fromkeys(fault for image in made for fault in image.meta.get("faults", ()))
    return Case(
        id=f"file-{digest[:20]}",
        patient=pseudonym("patient", str(side["patient"]), key) if side.get("patient") else "",
        time=side.get("time") if isinstance(side.get("time"), str | int | float) else None,
        images=tuple(made),
        labels={str(k): Label.from_dict(v) for k, v in (labels or {}).items()},
        report=Report(**report) if isinstance(report, dict) else Report(findings=report) if report else None,
        attributes={k: side[k] for k in ("age", "sex", "site", "device") if isinstance(side.get(k), str | int | float)}
        | ({"faults": "; ".join(faults)} if faults else {}),
    )
