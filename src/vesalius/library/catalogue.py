"""The catalogue's statements: writing cases and reading them back. Transactions are the caller's."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from vesalius.cases import Case
from vesalius.errors import UsageError
from vesalius.library.results import IntArray
from vesalius.library.rows import caption_of, fact_rows, vector_digest, words_of
from vesalius.library.segments import Segment
from vesalius.library.store import CaseEntry, ImageEntry, KnownCase, KnownImage, RowFacts, TextMatch
from vesalius.library.where import Condition
from vesalius.library.where_sql import fields, to_sql

#: Weights of labels, report, questions and other words in BM25.
WEIGHTS = "2.0, 1.0, 0.5, 1.0"
T = TypeVar("T")
_WORD = re.compile(r"\w+")
_OPEN, _CLOSE = "\x02", "\x03"


def meta(connection: sqlite3.Connection) -> dict[str, str]:
    """The library's own facts."""
    return dict(connection.execute("SELECT key, value FROM meta"))


def segments(connection: sqlite3.Connection) -> list[Segment]:
    """Committed segments in order."""
    return [Segment(*row) for row in connection.execute("SELECT pk, base, rows FROM segments ORDER BY base")]


def set_segments(connection: sqlite3.Connection, touched: Sequence[Segment]) -> None:
    """Commit the row counts of segments that were appended to."""
    connection.executemany(
        "INSERT INTO segments VALUES (?, ?, ?) ON CONFLICT (pk) DO UPDATE SET rows = excluded.rows",
        [(s.pk, s.base, s.rows) for s in touched],
    )


def bump(connection: sqlite3.Connection) -> None:
    """Tell readers that rows have changed their meaning."""
    connection.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")


def put(connection: sqlite3.Connection, entry: CaseEntry, first_row: int) -> int:
    """Write one case, in the place of a stored one of the same id; returns how many rows it took from `first_row`."""
    case = entry.case
    is_number = isinstance(case.time, int | float)
    columns = (
        case.group,
        "" if case.time is None or is_number else str(case.time),
        case.time if is_number else None,
        case.source.dataset,
        case.source.split,
        case.source.licence,
        entry.digest,
        entry.record,
    )
    found = connection.execute("SELECT pk FROM cases WHERE id = ?", (case.id,)).fetchone()
    if found is None:
        pk = connection.execute(
            "INSERT INTO cases VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (case.id, *columns)
        ).lastrowid
        if pk is None:
            raise RuntimeError("SQLite gave no row id")
    else:
        (pk,) = found
        connection.execute(
            "UPDATE cases SET patient = ?, time = ?, time_number = ?, dataset = ?, split = ?, licence = ?, digest = ?,"
            " record = ? WHERE pk = ?",
            (*columns, pk),
        )
        _drop_facts(connection, pk)
        kept = {e.n for e in entry.images if e.vector is None}
        drop_images(connection, pk, keep=kept, erase=False)
    connection.executemany(
        "INSERT INTO labels VALUES (?, ?, ?, ?, ?)",
        [(pk, *row) for row in fact_rows({k: v.value for k, v in case.labels.items()})],
    )
    connection.executemany(
        "INSERT INTO attributes VALUES (?, ?, ?, ?, ?)", [(pk, *row) for row in fact_rows(case.attributes)]
    )
    connection.execute(
        "INSERT INTO words (rowid, labels, report, questions, other) VALUES (?, ?, ?, ?, ?)", (pk, *words_of(case))
    )
    row = first_row
    for image in entry.images:
        row += _put_image(connection, pk, image, row)
    return row - first_row


def _put_image(connection: sqlite3.Connection, case_pk: int, entry: ImageEntry, row: int) -> int:
    image, path = entry.image, entry.image.path
    facts = (image.modality, image.view, image.kind, image.body_part, "" if path is None else str(path.absolute()))
    if entry.vector is None:
        connection.execute(
            "UPDATE images SET modality = ?, view = ?, kind = ?, body_part = ?, path = ?, stamp = ?"
            " WHERE case_pk = ? AND n = ?",
            (*facts, entry.stamp, case_pk, entry.n),
        )
        return 0
    made = connection.execute(
        "INSERT INTO images VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (case_pk, entry.n, row, *facts, entry.stamp, entry.sha, vector_digest(entry.vector)),
    )
    if entry.thumb:
        connection.execute("INSERT INTO thumbs VALUES (?, ?)", (made.lastrowid, entry.thumb))
    return 1


def drop_images(connection: sqlite3.Connection, case_pk: int, *, keep: Iterable[int] = (), erase: bool) -> int:
    """Bury a case's images except those in `keep`; returns how many."""
    keep = set(keep)
    found = connection.execute("SELECT pk, n, row, digest FROM images WHERE case_pk = ?", (case_pk,)).fetchall()
    gone = [(pk, row, None if erase else digest) for pk, n, row, digest in found if n not in keep]
    connection.executemany("DELETE FROM thumbs WHERE image_pk = ?", [(pk,) for pk, *_ in gone])
    connection.executemany("DELETE FROM images WHERE pk = ?", [(pk,) for pk, *_ in gone])
    connection.executemany("INSERT INTO tombstones VALUES (?, ?, ?)", [(r, int(erase), d) for _, r, d in gone])
    if gone:
        bump(connection)
    return len(gone)


def drop_case(connection: sqlite3.Connection, id: str, *, erase: bool) -> bool:
    """Remove a case with all that belongs to it; its rows become tombstones."""
    found = connection.execute("SELECT pk FROM cases WHERE id = ?", (id,)).fetchone()
    if found is None:
        return False
    (pk,) = found
    drop_images(connection, pk, erase=erase)
    _drop_facts(connection, pk)
    connection.execute("DELETE FROM cases WHERE pk = ?", (pk,))
    return True


def _drop_facts(connection: sqlite3.Connection, pk: int) -> None:
    for table, column in (("labels", "case_pk"), ("attributes", "case_pk"), ("words", "rowid")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (pk,))  # noqa: S608 # names are the two lines above


def known(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, KnownCase]:
    """The stored ones among these ids."""
    out: dict[str, KnownCase] = {}
    for part in _parts(ids):
        marks = ",".join("?" * len(part))
        images: dict[str, dict[int, KnownImage]] = {}
        digests: dict[str, str] = {}
        joined = "SELECT c.id, c.digest, i.n, i.row, i.stamp FROM cases c LEFT JOIN images i ON i.case_pk = c.pk"
        statement = f"{joined} WHERE c.id IN ({marks})"
        for id, digest, n, row, stamp in connection.execute(statement, part):
            digests[id] = digest
            held = images.setdefault(id, {})
            if n is not None:
                held[n] = KnownImage(row, stamp)
        out.update({id: KnownCase(digest, images[id]) for id, digest in digests.items()})
    return out


def _parts(ids: Sequence[T], size: int = 500) -> Iterator[list[T]]:
    for at in range(0, len(ids), size):
        yield list(ids[at : at + size])


def check_fields(connection: sqlite3.Connection, condition: Condition) -> None:
    """Refuse a filter that names a label or attribute which no case has: it would only ever find nothing.

    Raises:
        UsageError: With the names that there are.
    """
    for field in fields(condition):
        table = {"label": "labels", "attribute": "attributes"}.get(field.space)
        if table is None:
            continue
        hit = connection.execute(f"SELECT 1 FROM {table} WHERE name = ? LIMIT 1", (field.name,)).fetchone()  # noqa: S608 # one of two constants
        if hit is None:
            names = [n for (n,) in connection.execute(f"SELECT DISTINCT name FROM {table} ORDER BY name LIMIT 40")]  # noqa: S608 # as above
            raise UsageError(
                "the filter names what no case has",
                item=f"{field.space} {field.name}",
                why=f"the {table} here are: {', '.join(names) or 'none'}",
                fix="write labels as `label.NAME`; other fields are id patient time dataset split licence modality view"
                " kind body_part",
            )


def rows(connection: sqlite3.Connection, condition: Condition | None, ids: Sequence[str] | None) -> IntArray:
    """Live rows, sorted, that meet a filter and/or belong to these cases."""
    text, params = ("1", []) if condition is None else to_sql(condition)
    alone = ids is None and (condition is None or all(field.space == "image" for field in fields(condition)))
    tables = "images i" if alone else "images i JOIN cases c ON c.pk = i.case_pk"
    base = f"SELECT i.row FROM {tables} WHERE {text}"  # noqa: S608 # see where_sql

    def found(statement: str, values: Sequence[str | float]) -> IntArray:
        return np.fromiter(chain.from_iterable(connection.execute(statement, values)), np.int64)

    if ids is None:
        return np.sort(found(base, params))
    parts = _parts(list(dict.fromkeys(ids)))
    pieces = [found(f"{base} AND c.id IN ({','.join('?' * len(p))})", [*params, *p]) for p in parts]
    return np.sort(np.concatenate([np.empty(0, np.int64), *pieces]))


def owners(connection: sqlite3.Connection, wanted: Sequence[int]) -> list[int]:
    """Number of the case that each row belongs to, in order; rows that are gone are left out."""
    found: dict[int, int] = {}
    for part in _parts(wanted):
        statement = f"SELECT row, case_pk FROM images WHERE row IN ({','.join('?' * len(part))})"  # noqa: S608 # marks
        found.update(connection.execute(statement, part))
    return [found[row] for row in wanted if row in found]


def facts(connection: sqlite3.Connection, wanted: Sequence[int]) -> list[RowFacts]:
    """What belongs to these rows, in order; rows that are gone are left out."""
    out: dict[int, RowFacts] = {}
    for part in _parts([int(number) for number in wanted]):
        statement = (
            "SELECT i.row, c.pk, c.id, i.n, c.patient, i.modality, i.path, c.record"  # noqa: S608 # only marks are put in
            f" FROM images i JOIN cases c ON c.pk = i.case_pk WHERE i.row IN ({','.join('?' * len(part))})"
        )
        for row, pk, id, n, patient, modality, path, text in connection.execute(statement, part):
            record = json.loads(text)
            labels = {k: v.get("value") if isinstance(v, dict) else v for k, v in record.get("labels", {}).items()}
            caption, attributes = caption_of(record), record.get("attributes", {})
            out[row] = RowFacts(row, pk, id, n, patient, modality, path, labels, attributes, caption)
    return [out[int(row)] for row in wanted if int(row) in out]


def text(
    connection: sqlite3.Connection, query: str, k: int, condition: Condition | None, patient: str
) -> list[TextMatch]:
    """The best `k` cases by BM25; the query is words joined by `or`, never the index's own query language."""
    words = list(dict.fromkeys(_WORD.findall(query.lower())))[:64]
    if not words:
        return []
    match = " OR ".join(f'"{word}"' for word in words)
    inside, params = ("1", []) if condition is None else to_sql(condition)
    found = connection.execute(
        f"SELECT w.rowid, bm25(words, {WEIGHTS}) AS score, ("  # noqa: S608 # a constant and where_sql
        f" SELECT min(i.row) FROM images i WHERE i.case_pk = c.pk AND {inside}) AS row"
        " FROM words w JOIN cases c ON c.pk = w.rowid"
        " WHERE words MATCH ? AND c.patient <> ? AND row IS NOT NULL ORDER BY score, w.rowid LIMIT ?",
        (*params, match, patient, k),
    ).fetchall()
    return [TextMatch(pk, row, -score, *_shown(connection, pk, match)) for pk, score, row in found]


def _shown(connection: sqlite3.Connection, pk: int, match: str) -> tuple[str, tuple[str, ...]]:
    (snippet, *marked) = connection.execute(
        "SELECT snippet(words, -1, '', '', '...', 24), highlight(words, 0, ?1, ?2), highlight(words, 1, ?1, ?2),"
        " highlight(words, 2, ?1, ?2), highlight(words, 3, ?1, ?2) FROM words WHERE rowid = ?3 AND words MATCH ?4",
        (_OPEN, _CLOSE, pk, match),
    ).fetchone()
    terms = [t.lower() for part in marked for t in re.findall(f"{_OPEN}(.*?){_CLOSE}", part or "", re.DOTALL)]
    return snippet.replace("\n", " "), tuple(dict.fromkeys(terms))


def case(connection: sqlite3.Connection, id: str) -> Case | None:
    """The stored record."""
    found = connection.execute("SELECT record FROM cases WHERE id = ?", (id,)).fetchone()
    return None if found is None else Case.from_dict(json.loads(found[0]))
