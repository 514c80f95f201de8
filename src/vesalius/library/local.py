"""The store on a local disk: SQLite catalogue, segment files, writer's lock, erasing and compacting.

Order of a write: vectors to their file, flushed; then one SQLite commit that names them. A process killed between the
two leaves a tail that nobody reads. Order of an erasure: a commit that buries the rows and says that bytes are to be
erased; then zeros, full-text merge, log truncation; then a commit that it is done. What a killed process left of it is
finished by the next writer.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.cases import Case
from vesalius.errors import MissingError, ResourceError, UsageError, VesaliusError
from vesalius.library import catalogue, ivf_file, lock, reports, schema
from vesalius.library.compaction import compact
from vesalius.library.results import CheckReport, FloatArray, IntArray
from vesalius.library.segments import FOLDER, Segment, SegmentFiles, disk_error
from vesalius.library.store import CaseEntry, Identity, IvfRecord, KnownCase, RowFacts, StaleError, TextMatch, View
from vesalius.library.where import Condition

#: Texts whose vectors are kept.
MAX_QUERIES = 10_000
#: Filters whose rows are kept until the library changes.
FILTERS = 8
#: How long an erasure waits for readers of other processes to let go of the log.
BUSY_SECONDS = 10.0
_OURS = {schema.FILE, schema.FILE + "-wal", schema.FILE + "-shm", lock.FILE, FOLDER, ivf_file.FOLDER}


class LocalStore:
    """A library's folder; see `store.Store` for the methods.

    Args:
        folder: Where it is.
        identity: Who makes the vectors, for a new library; None opens an existing one.
        readonly: Never write, not even a cached query.

    Raises:
        MissingError: There is no library and `identity` is None.
        UsageError: The folder holds other things.
        BadInputError: The library is of another version or program.
        ResourceError: It cannot be opened.
    """

    def __init__(self, folder: Path, identity: Identity | None = None, *, readonly: bool = False) -> None:
        self.folder, self.readonly = folder, readonly
        if not (folder / schema.FILE).is_file():
            if identity is None or readonly:
                raise MissingError(
                    "there is no library",
                    item=str(folder),
                    fix="make one with `vesalius index` or Library.open(create=True)",
                )
            self._prepare_folder()
        self._lock = threading.RLock()
        self._writing, self._written = False, 0
        self.connection = schema.connect(folder, readonly=readonly)
        try:
            if not schema.check_file(self.connection, folder):
                if identity is None or readonly:
                    raise MissingError("the library is empty", item=str(folder), fix="index cases into it first")
                self._create(identity)
            meta = catalogue.meta(self.connection)
            self._identity = Identity(meta["model"], meta["fingerprint"], meta["preprocess"], int(meta["dim"]))
        except BaseException:
            self.connection.close()
            raise
        self.files = SegmentFiles(folder, self._identity.dim)
        self._segments: dict[int, list[Segment]] = {}
        self._view: View | None = None
        self._view_stamp: tuple[int, int] | None = None
        self._filtered: dict[Condition, tuple[tuple[int, int], IntArray]] = {}

    def _prepare_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            others = sorted(p.name for p in self.folder.iterdir() if p.name not in _OURS)
        except OSError as error:
            raise ResourceError("cannot make a library", item=str(self.folder), why=str(error)) from error
        if others:
            raise UsageError(
                "will not make a library among other files",
                item=str(self.folder),
                why=f"the folder holds {others[0]}",
                fix="name a new or empty folder",
            )

    def _create(self, identity: Identity) -> None:
        with lock.writing(self.folder), self._sql():
            if not schema.check_file(self.connection, self.folder):
                meta = {"model": identity.model, "fingerprint": identity.fingerprint, "preprocess": identity.preprocess}
                schema.create(
                    self.connection, {**meta, "dim": str(identity.dim), "generation": "0", "erase_pending": "0"}
                )

    @property
    def identity(self) -> Identity:
        """Who made the vectors."""
        return self._identity

    def close(self) -> None:
        """Release files."""
        with self._lock:
            self.files.forget()
            self.connection.close()

    # Transactions

    @contextlib.contextmanager
    def _sql(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise schema.sql_error(error, str(self.folder)) from error

    @contextlib.contextmanager
    def transaction(self, kind: str = "", *, rows: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: a consistent reading, or with `IMMEDIATE` all-or-nothing writing (of `rows` or not)."""
        with self._lock, self._sql():
            self.connection.execute(f"BEGIN {kind}")
            self._written += bool(kind) and rows
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer; what an earlier writer left half done is settled on entry."""
        if self.readonly:
            raise UsageError(
                "the library is open for reading only", item=str(self.folder), fix="open it without readonly=True"
            )
        if self._writing:
            raise UsageError("the library is already being written by this process", item=str(self.folder))
        with lock.writing(self.folder):
            self._writing = True
            try:
                self._settle()
                yield
                self._checkpoint()
            finally:
                self._writing = False

    def _settle(self) -> None:
        with self.transaction() as connection:
            segments = catalogue.segments(connection)
            pending = catalogue.meta(connection)["erase_pending"] != "0"
            record = ivf_file.record(connection)
        try:
            self.files.settle(segments)
            ivf_file.settle(self.folder, record)
        except OSError as error:
            raise disk_error(error, str(self.folder)) from error
        if pending:
            self._erase()

    def _checkpoint(self, seconds: float = 0) -> bool:
        """Move the log into the database and empty it; False when a reader still needs it after these seconds."""
        with self._lock, self._sql():
            (usual,) = self.connection.execute("PRAGMA busy_timeout").fetchone()
            try:
                self.connection.execute(f"PRAGMA busy_timeout = {int(1000 * seconds)}")
                (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self.connection.execute(f"PRAGMA busy_timeout = {usual}")
        return not busy

    # Writing

    def commit(self, entries: Sequence[CaseEntry]) -> int:
        """Store cases, all or none; returns the number of vectors written."""
        fresh = [image.vector for entry in entries for image in entry.images if image.vector is not None]
        with self.transaction() as connection:
            segments = catalogue.segments(connection)
            (next_pk,) = connection.execute(
                "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'segments'"
            ).fetchone()
        last = segments[-1] if segments else None
        row = last.base + last.rows if last else 0
        touched = self.files.append(last, np.stack(fresh), next_pk) if fresh else []
        try:
            with self.transaction("IMMEDIATE") as connection:
                catalogue.set_segments(connection, touched)
                for entry in entries:
                    row += catalogue.put(connection, entry, row)
        except BaseException:
            with contextlib.suppress(OSError):
                self.files.settle(segments)
            raise
        return len(fresh)

    def delete(self, ids: Sequence[str], *, erase: bool) -> int:
        """Remove cases, with `erase` the bytes of their vectors, pictures, words too; returns how many there were."""
        with self.transaction("IMMEDIATE") as connection:
            n = sum(catalogue.drop_case(connection, id, erase=erase) for id in dict.fromkeys(ids))
            if erase and n:
                connection.execute("UPDATE meta SET value = '1' WHERE key = 'erase_pending'")
                # A case of old versions may have been buried when its images changed: erasing takes those along.
                connection.execute("UPDATE tombstones SET erase = 1, digest = NULL WHERE erase = 0")
        if erase and n:
            self._erase()
        return n

    def _erase(self) -> None:
        with self.transaction() as connection:
            segments = catalogue.segments(connection)
            rows = [r for (r,) in connection.execute("SELECT row FROM tombstones WHERE erase = 1 ORDER BY row")]
            record = ivf_file.record(connection)
        try:
            self.files.zero(segments, rows)
        except OSError as error:
            raise disk_error(error, str(self.folder)) from error
        covered = record is not None and any(row < record.rows for row in rows)
        with self.transaction("IMMEDIATE") as connection:
            if covered:
                connection.execute("DELETE FROM ivf")
            connection.execute("DELETE FROM queries")
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")
        if covered:
            ivf_file.settle(self.folder, None)
        with self._lock, self._sql():
            # With secure_delete alone, copies that SQLite made when it moved rows between pages stay behind.
            self.connection.execute("VACUUM")
        if not self._checkpoint(BUSY_SECONDS):
            raise ResourceError(
                "the cases are deleted, but their bytes are not erased yet",
                item=str(self.folder),
                why="another process is reading the library",
                fix="close it and run the same command, or any command that writes, again",
            )
        with self.transaction("IMMEDIATE") as connection:
            connection.execute("UPDATE tombstones SET erase = 2 WHERE erase = 1")
            connection.execute("UPDATE meta SET value = '0' WHERE key = 'erase_pending'")

    def compact(self) -> int:
        """Give back the room of dead rows, in bounded memory; returns how many there were."""
        n = compact(self.files, self.transaction)
        self._segments.clear()
        self._view_stamp = None
        with self._lock, self._sql():
            self.connection.execute("VACUUM")
        with self.transaction() as connection:
            segments, record = catalogue.segments(connection), ivf_file.record(connection)
        self.files.forget()
        self.files.settle(segments)
        ivf_file.settle(self.folder, record)
        return n

    # Reading

    def view(self) -> View:
        """The present state."""
        with self._lock:
            stamp = self._stamp()
            if self._view is not None and self._view_stamp == stamp:
                return self._view
            view = self._view_now()
            self._view_stamp = stamp
            return view

    def _stamp(self) -> tuple[int, int]:
        """Changes whenever another connection (SQLite's own count) or this one has written."""
        with self._sql():
            (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        return int(version), self._written

    def _view_now(self) -> View:
        with self.transaction() as connection:
            generation = self._generation(connection)
            segments = catalogue.segments(connection)
            rows = sum(s.rows for s in segments)
            if self._view is None or self._view.generation != generation:
                dead = np.fromiter(
                    (r for (r,) in connection.execute("SELECT row FROM tombstones ORDER BY row")), np.int64
                )
                if self._view is not None:
                    self.files.forget()
            else:
                dead = self._view.dead
            self._segments = {generation: segments}
            self._view = View(generation, rows, dead)
            return self._view

    def _generation(self, connection: sqlite3.Connection) -> int:
        (value,) = connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        return int(value)

    def _of(self, view: View) -> list[Segment]:
        found = self._segments.get(view.generation)
        if found is None:
            raise StaleError
        out = []
        for s in found:
            if s.base < view.rows:
                out.append(Segment(s.pk, s.base, min(s.rows, view.rows - s.base)))
        return out

    def chunks(self, view: View) -> Iterator[tuple[int, FloatArray]]:
        """(first row, vectors) of each segment."""
        return self.files.chunks(self._of(view))

    def gather(self, view: View, rows: IntArray) -> FloatArray:
        """`(len(rows), dim)` vectors."""
        return self.files.gather(self._of(view), rows)

    def rows(self, condition: Condition | None = None, *, ids: Sequence[str] | None = None) -> IntArray:
        """Live rows, sorted, that meet a filter and/or belong to these cases; those of the last filters are kept."""
        with self._lock:
            stamp = self._stamp()
            if condition is not None and ids is None:
                known = self._filtered.get(condition)
                if known is not None and known[0] == stamp:
                    return known[1]
            with self.transaction() as connection:
                if condition is not None:
                    catalogue.check_fields(connection, condition)
                found = catalogue.rows(connection, condition, ids)
            if condition is not None and ids is None:
                found.setflags(write=False)
                self._filtered.pop(condition, None)
                self._filtered[condition] = stamp, found
                while len(self._filtered) > FILTERS:
                    del self._filtered[next(iter(self._filtered))]
            return found

    def rows_of_patient(self, patient: str) -> IntArray:
        """Live rows of one patient, sorted."""
        statement = "SELECT i.row FROM cases c JOIN images i ON i.case_pk = c.pk WHERE c.patient = ? ORDER BY i.row"
        with self.transaction() as connection:
            return np.fromiter((r for (r,) in connection.execute(statement, (patient,))), np.int64)

    def patient_of(self, *, sha: str = "", path: str = "") -> str:
        """Patient of the image with these pixels or this file, or ""."""
        statement = (
            "SELECT c.patient FROM images i JOIN cases c ON c.pk = i.case_pk"
            " WHERE (?1 <> '' AND i.sha = ?1) OR (?2 <> '' AND i.path = ?2) LIMIT 1"
        )
        with self.transaction() as connection:
            found = connection.execute(statement, (sha, path)).fetchone()
        return "" if found is None else str(found[0])

    def owners(self, view: View, rows: Sequence[int]) -> list[int] | None:
        """Number of the case that each row belongs to, in order; None when the view has become stale."""
        with self.transaction() as connection:
            if self._generation(connection) != view.generation:
                return None
            return catalogue.owners(connection, rows)

    def facts(self, view: View, rows: Sequence[int]) -> list[RowFacts] | None:
        """What belongs to these rows, in order; None when the view has become stale."""
        with self.transaction() as connection:
            if self._generation(connection) != view.generation:
                return None
            return catalogue.facts(connection, rows)

    def text(self, query: str, k: int, condition: Condition | None, patient: str) -> list[TextMatch]:
        """The best `k` cases by BM25 over labels, report, questions and captions, without one patient's."""
        with self.transaction() as connection:
            if condition is not None:
                catalogue.check_fields(connection, condition)
            return catalogue.text(connection, query, k, condition, patient)

    def known(self, ids: Sequence[str]) -> dict[str, KnownCase]:
        """The stored ones among these case ids."""
        with self.transaction() as connection:
            return catalogue.known(connection, ids)

    def case(self, id: str) -> Case | None:
        """The stored record."""
        with self.transaction() as connection:
            return catalogue.case(connection, id)

    def cases(self) -> Iterator[Case]:
        """All stored records in order of adding, read in parts."""
        last, part = 0, [(0, "")]
        while part:
            with self.transaction() as connection:
                part = connection.execute(
                    "SELECT pk, record FROM cases WHERE pk > ? ORDER BY pk LIMIT 256", (last,)
                ).fetchall()
            for pk, record in part:
                last = pk
                yield Case.from_dict(json.loads(record))

    def keys(self, rows: IntArray) -> list[tuple[str, int, str]]:
        """(case id, image index, patient) of each row, in order; rows that are gone are left out."""
        statement = "SELECT c.id, i.n, c.patient FROM images i JOIN cases c ON c.pk = i.case_pk WHERE i.row = ?"
        with self.transaction() as connection:
            found = [connection.execute(statement, (row,)).fetchone() for row in rows.tolist()]
        return [row for row in found if row is not None]

    def pixel_hashes(self, rows: Sequence[int]) -> list[str]:
        """SHA-256 of the stored values behind each row."""
        with self.transaction() as connection:
            found = [connection.execute("SELECT sha FROM images WHERE row = ?", (r,)).fetchone() for r in rows]
        return [row[0] for row in found if row is not None]

    def thumbnail(self, id: str, n: int) -> bytes | None:
        """The small JPEG of an image."""
        statement = (
            "SELECT t.data FROM cases c JOIN images i ON i.case_pk = c.pk JOIN thumbs t ON t.image_pk = i.pk"
            " WHERE c.id = ? AND i.n = ?"
        )
        with self.transaction() as connection:
            found = connection.execute(statement, (id, n)).fetchone()
        return None if found is None else bytes(found[0])

    def values(self, name: str) -> dict[int, Any]:
        """Row to the known value of a label."""
        with self.transaction() as connection:
            return reports.label_values(connection, name)

    def cached_query(self, key: str) -> FloatArray | None:
        """A text's vector from an earlier search."""
        with self.transaction() as connection:
            found = connection.execute("SELECT vector FROM queries WHERE key = ?", (key,)).fetchone()
        return None if found is None else np.frombuffer(found[0], "<f4").copy()

    def cache_query(self, key: str, vector: FloatArray) -> None:
        """Keep a text's vector; does nothing when the library cannot be written."""
        if self.readonly or self._writing:
            return
        with contextlib.suppress(VesaliusError), self.transaction("IMMEDIATE", rows=False) as connection:
            connection.execute("INSERT OR REPLACE INTO queries VALUES (?, ?)", (key, vector.astype("<f4").tobytes()))
            connection.execute(
                "DELETE FROM queries WHERE rowid <= (SELECT max(rowid) FROM queries) - ?", (MAX_QUERIES,)
            )

    # The approximate index

    def ivf_record(self) -> IvfRecord | None:
        """The index in use."""
        with self.transaction() as connection:
            return ivf_file.record(connection)

    # Examination

    def stats(self) -> dict[str, Any]:
        """Counts and sizes."""
        with self.transaction() as connection:
            return reports.stats(connection, self.folder, self._identity)

    def check(self) -> CheckReport:
        """Examine everything."""
        with self.transaction() as connection:
            return reports.check(connection, self.folder, self.files)
