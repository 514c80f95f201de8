"""The library's examination of itself: counts, sizes, and every way in which its parts could disagree."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.errors import VesaliusError
from vesalius.library import catalogue, ivf_file
from vesalius.library.results import CheckReport, Problem
from vesalius.library.rows import vector_digest
from vesalius.library.segments import Segment, SegmentFiles
from vesalius.library.store import Identity

#: Rows examined at a time.
BLOCK = 8_192


def label_values(connection: sqlite3.Connection, name: str) -> dict[int, Any]:
    """Row to the known value of a label: a number where it is one, else text."""
    statement = (
        "SELECT i.row, f.number, f.text FROM labels f JOIN images i ON i.case_pk = f.case_pk"
        " WHERE f.name = ? AND f.known ORDER BY i.row"
    )
    return {row: _value(number, text) for row, number, text in connection.execute(statement, (name,))}


def _value(number: float | None, text: str) -> str | int | float:
    if number is None:
        return text
    return int(number) if re.fullmatch(r"[+-]?\d+", text) else number


def stats(connection: sqlite3.Connection, folder: Path, identity: Identity) -> dict[str, Any]:
    """Counts and sizes."""

    def one(statement: str) -> int:
        return int(connection.execute(statement).fetchone()[0])

    def by(statement: str) -> dict[str, int]:
        return {str(k) or "?": n for k, n in connection.execute(statement)}

    labels: dict[str, dict[str, int]] = {}
    counts = "SELECT name, text, count(*) AS n FROM labels WHERE known GROUP BY name, text ORDER BY name, n DESC, text"
    for name, text, n in connection.execute(counts):
        kept = labels.setdefault(name, {})
        key = text if len(kept) < 12 else "..."
        kept[key] = kept.get(key, 0) + n
    record = ivf_file.record(connection)
    return {
        "cases": one("SELECT count(*) FROM cases"),
        "patients": one("SELECT count(DISTINCT patient) FROM cases"),
        "images": one("SELECT count(*) FROM images"),
        "modality": by("SELECT modality, count(*) AS n FROM images GROUP BY 1 ORDER BY n DESC"),
        "kind": by("SELECT kind, count(*) AS n FROM images GROUP BY 1 ORDER BY n DESC"),
        "dataset": by("SELECT dataset, count(*) AS n FROM cases GROUP BY 1 ORDER BY n DESC"),
        "labels": labels,
        "dead_rows": one("SELECT count(*) FROM tombstones"),
        "segments": one("SELECT count(*) FROM segments"),
        "bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        "model": identity.model,
        "fingerprint": identity.fingerprint,
        "preprocess": identity.preprocess,
        "dim": identity.dim,
        "ivf": None
        if record is None
        else {
            "rows": record.rows,
            "nlist": record.nlist,
            "nprobe": record.nprobe,
            "recall@10": record.recall,
            "hash": record.hash,
        },
    }


def check(connection: sqlite3.Connection, folder: Path, files: SegmentFiles) -> CheckReport:
    """Examine the database, the files, every vector's digest and length, and what refers to what."""
    segments = catalogue.segments(connection)
    problems = [*_database(connection), *_counts(connection, segments), *_files(files, segments)]
    if not any(p.kind in ("segment", "database") for p in problems):
        problems += _vectors(connection, files, segments)
    problems += ivf_file.check(connection, folder)
    if catalogue.meta(connection)["erase_pending"] != "0":
        problems.append(Problem("erase", "erasure", "an erasure was cut off; the next writer finishes it", fatal=False))
    names = ("cases", "images", "thumbs", "tombstones", "segments")
    counts = {n: int(connection.execute(f"SELECT count(*) FROM {n}").fetchone()[0]) for n in names}  # noqa: S608 # names above
    return CheckReport(tuple(problems), counts)


def _database(connection: sqlite3.Connection) -> Iterator[Problem]:
    for (text,) in connection.execute("PRAGMA integrity_check(20)"):
        if text != "ok":
            yield Problem("database", "library.sqlite", text)
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Problem("orphan", f"{table} {row}", f"nothing in {parent} that it belongs to")
    lost = "SELECT count(*) FROM words w WHERE NOT EXISTS (SELECT 1 FROM cases c WHERE c.pk = w.rowid)"
    (n,) = connection.execute(lost).fetchone()
    if n:
        yield Problem("orphan", "full text", f"{n} entries belong to no case")
    missing = "SELECT id FROM cases c WHERE NOT EXISTS (SELECT 1 FROM words w WHERE w.rowid = c.pk) LIMIT 20"
    for (id,) in connection.execute(missing):
        yield Problem("orphan", id, "the case is not in the full text")
    for (id,) in connection.execute(
        "SELECT id FROM cases c WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.case_pk = c.pk) LIMIT 20"
    ):
        yield Problem("orphan", id, "the case has no image")
    for id, digest, record in connection.execute("SELECT id, digest, record FROM cases"):
        if hashlib.sha256(record.encode()).hexdigest() != digest:
            yield Problem("hash", id, "the record is not what was written")


def _counts(connection: sqlite3.Connection, segments: list[Segment]) -> Iterator[Problem]:
    expected = 0
    for segment in segments:
        if segment.base != expected:
            yield Problem("segment", f"{segment.pk}", f"starts at row {segment.base}, not {expected}")
        expected = segment.base + segment.rows
    (images,) = connection.execute("SELECT count(*) FROM images").fetchone()
    (dead,) = connection.execute("SELECT count(*) FROM tombstones").fetchone()
    if images + dead != expected:
        yield Problem("count", "rows", f"{images} images and {dead} dead rows, but {expected} vectors")
    outside = (
        "SELECT row FROM (SELECT row FROM images UNION ALL SELECT row FROM tombstones)"
        " WHERE row < 0 OR row >= ? LIMIT 20"
    )
    for (row,) in connection.execute(outside, (expected,)):
        yield Problem("count", f"row {row}", f"there are {expected} vectors")
    both = "SELECT i.row FROM images i JOIN tombstones t ON t.row = i.row LIMIT 20"
    for (row,) in connection.execute(both):
        yield Problem("count", f"row {row}", "is both in use and deleted")


def _files(files: SegmentFiles, segments: list[Segment]) -> Iterator[Problem]:
    expected = {files.path(s.pk): s.rows * files.width for s in segments}
    for path, size in expected.items():
        found = path.stat().st_size if path.is_file() else -1
        if found < size:
            yield Problem(
                "segment", path.name, "the file is gone" if found < 0 else f"{found} bytes, {size} are needed"
            )
        elif found > size:
            why = f"{found - size} bytes of a write that was cut off; the next writer removes them"
            yield Problem("tail", path.name, why, fatal=False)
    if files.folder.is_dir():
        for path in sorted(files.folder.iterdir()):
            if path not in expected:
                yield Problem("stray", path.name, "belongs to no segment; the next writer removes it", fatal=False)


def _vectors(connection: sqlite3.Connection, files: SegmentFiles, segments: list[Segment]) -> Iterator[Problem]:
    erased = {r for (r,) in connection.execute("SELECT row FROM tombstones WHERE erase = 2")}
    for segment in segments:
        try:
            vectors = files.array(segment)
        except VesaliusError as error:
            yield Problem("segment", str(segment.pk), error.why)
            continue
        for at in range(0, segment.rows, BLOCK):
            low, block = segment.base + at, vectors[at : at + BLOCK]
            norms = np.linalg.norm(block.astype(np.float64), axis=1)
            statement = (
                "SELECT i.row, i.digest, c.id, i.n FROM images i JOIN cases c ON c.pk = i.case_pk"
                " WHERE i.row >= ? AND i.row < ?"
            )
            for row, digest, id, n in connection.execute(statement, (low, low + len(block))):
                vector, norm = block[row - low], norms[row - low]
                if not np.isfinite(norm) or abs(norm - 1) > 0.01:
                    yield Problem("vector", f"{id} image {n}", f"its length is {norm}, not 1")
                elif vector_digest(vector) != digest:
                    yield Problem("hash", f"{id} image {n}", "the vector is not what was written")
            for row in erased & set(range(low, low + len(block))):
                if block[row - low].any():
                    yield Problem("erase", f"row {row}", "an erased vector is not zero")
