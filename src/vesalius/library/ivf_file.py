"""The approximate index as the catalogue knows it: its record, its file, and whether the two agree.

Below the store, which keeps and examines the index, and below `ivf`, which builds and searches it; faiss is not needed.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from vesalius.errors import ResourceError
from vesalius.library.results import Problem
from vesalius.library.store import IvfRecord

FOLDER = "index"


def record(connection: sqlite3.Connection) -> IvfRecord | None:
    """The index in use."""
    row = connection.execute(
        "SELECT pk, hash, rows, nlist, nprobe, recall FROM ivf ORDER BY pk DESC LIMIT 1"
    ).fetchone()
    return None if row is None else IvfRecord(*row)


def path(folder: Path, index: IvfRecord) -> Path:
    """The index's file; its name carries its number and hash, both checked before they become one."""
    if not re.fullmatch(r"[0-9a-f]{64}", index.hash):
        raise ResourceError("the library is damaged", item="approximate index", why="its hash is not a hash")
    return folder / FOLDER / f"{index.pk:08d}-{index.hash[:16]}.ivf"


def settle(folder: Path, index: IvfRecord | None) -> None:
    """Remove the files of other indexes than the one in use."""
    kept = None if index is None else path(folder, index)
    for file in (folder / FOLDER).glob("*.ivf*"):
        if file != kept:
            file.unlink()


def covered_hash(connection: sqlite3.Connection, rows: int) -> str:
    """SHA-256 over the digests of the first `rows` vectors, those deleted since included."""
    h = hashlib.sha256()
    both = (
        "SELECT row, digest FROM images WHERE row < ?1"
        " UNION ALL SELECT row, digest FROM tombstones WHERE row < ?1 ORDER BY row"
    )
    for _, digest in connection.execute(both, (rows,)):
        h.update(digest or b"\0" * 16)
    return h.hexdigest()


def check(connection: sqlite3.Connection, folder: Path) -> Iterator[Problem]:
    """Whether the index's file is whole and covers the vectors that it says."""
    index = record(connection)
    if index is None:
        return
    (size,) = connection.execute("SELECT bytes FROM ivf WHERE pk = ?", (index.pk,)).fetchone()
    file = path(folder, index)
    found = file.stat().st_size if file.is_file() else -1
    if found != size:
        yield Problem("ivf", file.name, "the file is gone" if found < 0 else f"{found} bytes instead of {size}")
    elif covered_hash(connection, index.rows) != index.hash:
        yield Problem("ivf", file.name, "it was made from other vectors than those it stands for")
