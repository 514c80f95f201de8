"""Adding cases: decode in workers, embed in batches, store what is complete; what is there already is passed over.

A case is stored when all of its images have been tried, in one transaction with the others of its batch. Whatever was
reported as added is on the disk; after a kill the same call goes on where the last commit ended.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, MissingError, VesaliusError
from vesalius.io.decode import decode_images
from vesalius.job import Job
from vesalius.library.prepare import Prepare, Prepared
from vesalius.library.results import AddReport, FloatArray
from vesalius.library.rows import record_of
from vesalius.library.store import CaseEntry, ImageEntry, KnownCase, Store
from vesalius.models.protocols import Embedder

#: Cases whose presence is looked up at a time.
LOOKAHEAD = 64
#: How far a vector's length may be from 1.
NORM_TOLERANCE = 0.01


@dataclass(eq=False)
class _Pending:
    """A case on its way: images that are still out, and what came back."""

    case: Case
    record: str
    digest: str
    stored: bool
    kept: list[ImageEntry]
    stamps: dict[int, str]
    out: set[int]
    done: list[ImageEntry] = field(default_factory=list)

    def entry(self) -> CaseEntry:
        return CaseEntry(self.case, self.record, self.digest, tuple(sorted(self.kept + self.done, key=lambda e: e.n)))


def stamp_of(image: Image) -> str:
    """What tells cheaply, without decoding, whether an image is the one that was added.

    The file's hash where the case set knows it, else path, size and time of change; pixels in memory are hashed.

    Raises:
        MissingError: The file is gone.
        BadInputError: It is neither a file nor a folder.
    """
    path = image.path
    if image.sha256:
        return f"sha256:{image.sha256}:{image.frame}"
    if path is None:
        return f"array:{image.content_hash()}"
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            return f"folder:{path.absolute()}:{image.frame}:{_folder_stamp(path)}"
    except (OSError, ValueError) as error:
        raise MissingError("image file is gone", item=str(path), why=str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise BadInputError("cannot read image", item=str(path), why="it is neither a file nor a folder")
    return f"file:{path.absolute()}:{image.frame}:{found.st_size}:{found.st_mtime_ns}"


def _folder_stamp(folder: Path) -> str:
    h = hashlib.sha256()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            found = entry.stat(follow_symlinks=False)
            h.update(f"{entry.name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return h.hexdigest()


class Ingest:
    """One call of `add`.

    Args:
        store: Where to.
        model: Who makes the vectors.
        job: Its `batch_size` images are embedded at a time; told of every refusal, and after every commit how many
            images are on the disk.
    """

    def __init__(self, store: Store, model: Embedder, job: Job) -> None:
        self.store, self.model, self.job = store, model, job
        self.start = time.perf_counter()
        self.added = self.skipped = self.updated = self.images = 0
        self.refused: list[tuple[str, str]] = []
        self.seen: set[str] = set()
        self.where: dict[int, tuple[_Pending, int]] = {}
        self.batch: list[tuple[_Pending, int, Prepared]] = []
        self.ready: deque[_Pending] = deque()
        self.noted: deque[tuple[str, str]] = deque()

    def run(self, cases: Iterable[Case]) -> AddReport:
        """Add them all."""
        prepared = decode_images(
            Prepare(self.model.preprocess), self._images(cases), self.job, ahead=2 * self.job.batch_size
        )
        for index, result in enumerate(prepared):
            pending, n = self.where.pop(index)
            if isinstance(result, VesaliusError):
                self._refuse(pending, n, str(result))
            else:
                self.batch.append((pending, n, result))
            if len(self.batch) >= self.job.batch_size:
                self._flush()
        self._flush()
        return AddReport(
            self.added,
            self.skipped,
            tuple(self.refused),
            time.perf_counter() - self.start,
            updated=self.updated,
            images=self.images,
        )

    def _images(self, cases: Iterable[Case]) -> Iterator[Image]:
        """The images to decode, in the order of their numbers in `where`."""
        number = 0
        iterator = iter(cases)
        while part := list(islice(iterator, LOOKAHEAD)):
            known = self.store.known([case.id for case in part])
            for case in part:
                pending = self._plan(case, known.get(case.id))
                if pending is None:
                    continue
                if not pending.out:
                    self.ready.append(pending)
                for n in sorted(pending.out):
                    self.where[number] = (pending, n)
                    number += 1
                    yield case.images[n]

    def _plan(self, case: Case, known: KnownCase | None) -> _Pending | None:
        """What is to be done for a case; None when nothing is."""
        if case.id in self.seen:
            self._note(case.id, "a case of the same id came before it in this run")
            return None
        self.seen.add(case.id)
        if not case.images:
            self._note(case.id, "the case has no image")
            return None
        try:
            record, digest = record_of(case)
        except VesaliusError as error:
            self._note(case.id, str(error))
            return None
        pending = _Pending(case, record, digest, known is not None, [], {}, set())
        for n, image in enumerate(case.images):
            try:
                stamp = pending.stamps[n] = stamp_of(image)
            except VesaliusError as error:
                self._note(f"{case.id} image {n}", str(error))
                continue
            held = None if known is None else known.images.get(n)
            if held is not None and held.stamp == stamp:
                pending.kept.append(ImageEntry(n, image, stamp))
            else:
                pending.out.add(n)
        if known is not None and not pending.out and known.digest == digest and len(pending.kept) == len(known.images):
            self.skipped += 1
            return None
        return pending if pending.out or pending.kept else None

    def _refuse(self, pending: _Pending, n: int, why: str) -> None:
        several = len(pending.case.images) > 1
        self._note(f"{pending.case.id} image {n}" if several else pending.case.id, why)
        self._settle(pending, n)

    def _note(self, item: str, why: str) -> None:
        self.noted.append((item, why))

    def _report(self) -> None:
        while self.noted:
            item, why = self.noted.popleft()
            self.job.refuse(item, why)
            self.refused.append((item, self.job.refused[-1].why))
        self.job.at("cases indexed", self.added + self.updated + self.skipped)

    def _settle(self, pending: _Pending, n: int) -> None:
        pending.out.discard(n)
        if not pending.out and (pending.done or pending.kept):
            self.ready.append(pending)

    def _flush(self) -> None:
        """Embed the batch, store the cases that are complete, report."""
        batch, self.batch = self.batch, []
        if batch:
            for (pending, n, (_, thumb, sha)), vector in zip(batch, self._embed(batch), strict=True):
                if isinstance(vector, str):
                    self._refuse(pending, n, vector)
                    continue
                entry = ImageEntry(n, pending.case.images[n], pending.stamps[n], vector, thumb, sha)
                pending.done.append(entry)
                self._settle(pending, n)
        ready: list[_Pending] = []
        while self.ready:
            ready.append(self.ready.popleft())
        if ready:
            self.images += self.store.commit([pending.entry() for pending in ready])
            stored = sum(pending.stored for pending in ready)
            self.updated += stored
            self.added += len(ready) - stored
        self._report()

    def _embed(self, batch: list[tuple[_Pending, int, Prepared]]) -> list[FloatArray | str]:
        """A vector or a refusal for each; when a batch fails as a whole, its images are tried one by one."""
        views = [prepared[0] for _, _, prepared in batch]
        try:
            return self._checked(self.model.embed_views(views), len(views))
        except (BadInputError, ValueError):
            out: list[FloatArray | str] = []
            for view in views:
                try:
                    out += self._checked(self.model.embed_views([view]), 1)
                except (BadInputError, ValueError) as error:
                    out.append(f"the model refuses it: {error}")
            return out

    def _checked(self, vectors: FloatArray, n: int) -> list[FloatArray | str]:
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.shape != (n, self.model.dim):
            raise VesaliusError(
                "the model breaks its promise",
                item=self.model.name,
                why=f"it gave an array of shape {vectors.shape} instead of {(n, self.model.dim)}",
            )
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        return [
            v if np.isfinite(norm) and abs(norm - 1) <= NORM_TOLERANCE else f"its vector has length {norm:.4g}, not 1"
            for v, norm in zip(vectors, norms, strict=True)
        ]
