"""Vectors on disk: plain float32 rows in append-only segment files, read through memory maps.

A segment's file is named by its number alone. What the catalogue has committed counts; bytes beyond it are the tail of
a write that was cut off, and are ignored by readers and cut away by the next writer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vesalius.errors import BadInputError, ResourceError

FloatArray = npt.NDArray[np.float32]

FOLDER = "vectors"
#: Rows of one file, multiplied by a query in one call.
ROWS = 65_536

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Segment:
    """`rows` committed vectors, the first of which is row `base` of the library."""

    pk: int
    base: int
    rows: int


class SegmentFiles:
    """The segment files of one library.

    Args:
        folder: The library's folder.
        dim: Length of a vector.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder, self.dim = folder / FOLDER, dim
        self._maps: dict[int, FloatArray] = {}

    def path(self, pk: int) -> Path:
        """File of segment `pk`."""
        return self.folder / f"{pk:08d}.f32"

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return 4 * self.dim

    def array(self, segment: Segment) -> FloatArray:
        """`(rows, dim)` read-only view of the committed rows.

        Raises:
            BadInputError: The file is gone or shorter than what was committed.
        """
        if segment.rows == 0:
            return np.empty((0, self.dim), np.float32)
        known = self._maps.get(segment.pk)
        if known is None or len(known) < segment.rows:
            path = self.path(segment.pk)
            try:
                rows = path.stat().st_size // self.width
                if rows < segment.rows:
                    raise BadInputError(
                        "the library is damaged",
                        item=str(path),
                        why=f"{rows} of {segment.rows} vectors are there",
                        fix="index the cases again",
                    )
                mapped = np.memmap(path, dtype="<f4", mode="r", shape=(segment.rows, self.dim))
            except FileNotFoundError as error:
                raise BadInputError(
                    "the library is damaged", item=str(path), why="the file is gone", fix="index the cases again"
                ) from error
            known = self._maps[segment.pk] = np.asarray(mapped)
        return known[: segment.rows]

    def forget(self) -> None:
        """Close all maps."""
        self._maps.clear()

    def append(self, last: Segment | None, vectors: FloatArray, next_pk: int) -> list[Segment]:
        """Write vectors after the last committed row and flush them to the disk; nothing is committed by it.

        Args:
            last: The last committed segment, None when there is none.
            vectors: `(n, dim)`.
            next_pk: Number of the next new segment.

        Returns:
            The segments that were touched, with the row counts they will have once the catalogue says so.

        Raises:
            ResourceError: The disk is full; what was written is cut away again.
        """
        data = np.ascontiguousarray(vectors, dtype="<f4")
        if last is None or last.rows >= ROWS:
            base = 0 if last is None else last.base + last.rows
            last, next_pk = Segment(next_pk, base, 0), next_pk + 1
        touched: list[Segment] = []
        written: list[tuple[Path, int]] = []
        at = 0
        try:
            while at < len(data):
                part = data[at : at + ROWS - last.rows]
                written.append((self.path(last.pk), last.rows * self.width))
                self._write(last.pk, last.rows * self.width, part)
                touched.append(Segment(last.pk, last.base, last.rows + len(part)))
                at += len(part)
                last, next_pk = Segment(next_pk, last.base + last.rows + len(part), 0), next_pk + 1
        except OSError as error:
            for path, size in written:
                if path.exists():
                    os.truncate(path, size)
            raise disk_error(error, str(self.folder)) from error
        return touched

    def _write(self, pk: int, offset: int, part: FloatArray) -> None:
        path = self.path(pk)
        new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            write_all(handle, part.tobytes(), offset)
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            sync_folder(self.folder)

    def settle(self, segments: Sequence[Segment]) -> None:
        """Cut away what was never committed: tails and whole files. Only the writer may call this."""
        self.folder.mkdir(exist_ok=True)
        expected = {self.path(s.pk): s.rows * self.width for s in segments}
        for path in sorted(self.folder.glob("*.f32")):
            if path not in expected:
                path.unlink()
            elif path.stat().st_size > expected[path]:
                os.truncate(path, expected[path])

    def zero(self, segments: Sequence[Segment], rows: Sequence[int]) -> None:
        """Overwrite rows with zeros and flush them to the disk."""
        blank = bytes(self.width)
        for segment in segments:
            inside = [r - segment.base for r in rows if segment.base <= r < segment.base + segment.rows]
            if not inside:
                continue
            handle = os.open(self.path(segment.pk), os.O_WRONLY | os.O_CLOEXEC)
            try:
                for slot in inside:
                    write_all(handle, blank, slot * self.width)
                os.fsync(handle)
            finally:
                os.close(handle)

    def chunks(self, segments: Sequence[Segment]) -> Iterator[tuple[int, FloatArray]]:
        """(first row, `(rows, dim)` vectors) of each segment."""
        for segment in segments:
            yield segment.base, self.array(segment)

    def gather(self, segments: Sequence[Segment], rows: npt.NDArray[np.int64]) -> FloatArray:
        """`(len(rows), dim)` copies of the given rows, in the given order."""
        out = np.empty((len(rows), self.dim), np.float32)
        for segment in segments:
            inside = np.flatnonzero((rows >= segment.base) & (rows < segment.base + segment.rows))
            if len(inside):
                out[inside] = self.array(segment)[rows[inside] - segment.base]
        return out


def write_all(handle: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`: a single call may write less, for instance on a disk that is nearly full."""
    view = memoryview(data)
    while view:
        n = os.pwrite(handle, view, offset)
        view, offset = view[n:], offset + n


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a new file's name survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(error: OSError, item: str) -> ResourceError:
    """The error of a write that failed."""
    full = error.errno in _FULL
    return ResourceError(
        "the disk is full" if full else "cannot write the library",
        item=item,
        why=error.strerror or str(error),
        fix="free some space and run the same command again; everything reported so far is kept"
        if full
        else "check the disk and the folder's permissions",
    )
