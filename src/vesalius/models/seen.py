"""Which pictures a model was trained on, so that a figure is not computed on them unsaid.

A model folder may carry `seen.safetensors`: the first eight bytes of two SHA-256 hashes of each training picture, of
its file and of its stored values. They name no picture and cannot be turned back into one; the odds that a stranger's
picture matches by chance are below one in 10^14 for ten thousand pictures. A picture that was cropped, resized or saved
anew with loss is not recognised, and neither is one slice of a volume that was trained on whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, VesaliusError
from vesalius.io.decode import decode_cases
from vesalius.job import Job
from vesalius.models.manifest import Manifest, describe_files

FILE = "seen.safetensors"
_KEY = "prefixes"
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Seen:
    """Hashes of the pictures that a model was trained on.

    Args:
        prefixes: `(n,)` uint64, sorted, each once: the first eight bytes of a SHA-256, read big-endian.
    """

    prefixes: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, images: Iterable[Image]) -> Seen:
        """The hashes of images, of which each is read.

        Raises:
            BadInputError: An image cannot be read.
            MissingError: Its file is gone.
        """
        found = {prefix(h) for image in images for h in hashes(image)}
        return cls(np.asarray(sorted(found), np.uint64))

    def __len__(self) -> int:
        return len(self.prefixes)

    def has(self, *sha256: str) -> bool:
        """True when a picture with one of these SHA-256 hashes (hexadecimal) was trained on."""
        wanted = np.asarray([prefix(h) for h in sha256], np.uint64)
        at = np.searchsorted(self.prefixes, wanted)
        inside = at < len(self.prefixes)
        return bool((self.prefixes[at[inside]] == wanted[inside]).any())

    def images(self, images: Sequence[Image]) -> Bools:
        """`(n,)` whether each image was trained on; one that cannot be read counts as new."""
        return np.asarray([self._knows(image) for image in images], bool)

    def cases(self, cases: Sequence[Case]) -> Bools:
        """`(n,)` whether an image of a case was trained on."""
        return np.asarray([any(self._knows(image) for image in case.images) for case in cases], bool)

    def patients(self, cases: Sequence[Case]) -> Bools:
        """`(n,)` whether an image of a case, or of another given case of its patient, was trained on."""
        own = self.cases(cases)
        known = {case.group for case, seen in zip(cases, own, strict=True) if seen}
        return np.asarray([case.group in known for case in cases], bool)

    def _knows(self, image: Image) -> bool:
        try:
            return self.has(*hashes(image))
        except VesaliusError:  # who uses the image says what is wrong with it
            return False

    def write(self, folder: Path) -> None:
        """Write the hashes into a model folder; its manifest, where it has one, names the file from then on."""
        from safetensors.numpy import save_file

        save_file({_KEY: np.ascontiguousarray(self.prefixes)}, folder / FILE)
        (folder / FILE).chmod(0o644)  # safetensors writes for the owner alone
        if (folder / "model.json").is_file():
            manifest = Manifest.read(folder)
            described = {**manifest.files, FILE: describe_files(folder)[FILE]}
            Manifest(**{**vars(manifest), "files": described}).write(folder)

    @classmethod
    def read(cls, folder: Path) -> Seen | None:
        """The hashes of a model folder, None where it carries none, or one that its manifest does not name.

        Raises:
            BadInputError: The file does not hold hashes in order.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if not (folder / FILE).is_file():
            return None
        if (folder / "model.json").is_file() and FILE not in Manifest.read(folder).files:
            return None  # left over from another model
        try:
            found = load_file(folder / FILE)[_KEY]
        except (SafetensorError, KeyError, OSError, ValueError) as error:
            raise BadInputError("cannot read what a model has seen", item=str(folder / FILE), why=str(error)) from error
        if found.dtype != np.uint64 or found.ndim != 1 or not (np.diff(found.astype(object)) > 0).all():
            raise BadInputError("cannot read what a model has seen", item=str(folder / FILE), why="hashes out of order")
        return cls(found)


def seen_by(model: Any) -> Seen | None:
    """What a model, or the embedder behind a head, was trained on; None where that is not known."""
    for owner in (model, getattr(model, "embedder", None), getattr(model, "model", None)):
        folder = getattr(owner, "folder", None)
        if isinstance(folder, Path):
            return Seen.read(folder)
        if owner is not None and owner is not model and (found := seen_by(owner)) is not None:
            return found
    return None


def seen_patients(model: Any, cases: Sequence[Case]) -> Bools | None:
    """`(n,)` which cases are of patients that a model was trained on; None where that is not known."""
    known = seen_by(model)
    return None if known is None else known.patients(cases)


def known_patients(model: Any, cases: Iterable[Case], job: Job | None = None) -> frozenset[str]:
    """Groups of which an image was trained on; images are read in bounded child processes, once.

    Args:
        model: A model; where its folder does not say what it has seen, no group is known.
        cases: Cases; one with an image that cannot be read counts as new, and whoever uses it says what is wrong.
        job: Its workers read; nothing is refused to it.

    Raises:
        CancelledError: The job was cancelled.
    """
    seen = seen_by(model)
    if seen is None:
        return frozenset()
    quiet = Job(workers=None if job is None else job.workers)
    found = set()
    for item in decode_cases(cases, hashes, quiet):
        if job is not None:
            job.check()
        if any(seen.has(*h) for h in item.results):
            found.add(item.case.group)
    return frozenset(found)


def hashes(image: Image) -> tuple[str, ...]:
    """SHA-256 of an image's file, where it is a file of its own, and of its stored values."""
    return (*_file_hash(image), image.content_hash())


def prefix(sha256: str) -> int:
    """The first eight bytes of a hexadecimal hash as a number."""
    return int(sha256[:16], 16)


def _file_hash(image: Image) -> tuple[str, ...]:
    if image.sha256:
        return (image.sha256,)
    shared = image.frame is not None or any(image.meta.get(k) for k in ("files", "members", "member", "frames"))
    path = image.path
    if shared or path is None or not path.is_file():
        return ()
    with path.open("rb") as file:
        return (hashlib.file_digest(file, "sha256").hexdigest(),)
