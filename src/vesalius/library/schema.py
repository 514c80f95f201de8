"""The catalogue's tables, and how a connection to them is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from vesalius.errors import BadInputError, ResourceError, VesaliusError

#: Version of the tables and of the segment files; a reader refuses any other.
VERSION = 1
#: Marks the SQLite file as ours ("vslb").
APPLICATION_ID = 0x76736C62
FILE = "library.sqlite"

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE cases (
  pk INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, patient TEXT NOT NULL,
  time TEXT NOT NULL, time_number REAL, dataset TEXT NOT NULL, split TEXT NOT NULL, licence TEXT NOT NULL,
  digest TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX cases_patient ON cases (patient);
CREATE TABLE images (
  pk INTEGER PRIMARY KEY, case_pk INTEGER NOT NULL REFERENCES cases (pk), n INTEGER NOT NULL,
  row INTEGER UNIQUE NOT NULL,
  modality TEXT NOT NULL, view TEXT NOT NULL, kind TEXT NOT NULL, body_part TEXT NOT NULL, path TEXT NOT NULL,
  stamp TEXT NOT NULL, sha TEXT NOT NULL, digest BLOB NOT NULL, UNIQUE (case_pk, n));
CREATE INDEX images_sha ON images (sha);
CREATE INDEX images_path ON images (path);
CREATE TABLE thumbs (image_pk INTEGER PRIMARY KEY REFERENCES images (pk), data BLOB NOT NULL);
CREATE TABLE labels (
  case_pk INTEGER NOT NULL REFERENCES cases (pk), name TEXT NOT NULL, known INTEGER NOT NULL, number REAL,
  text TEXT NOT NULL,
  PRIMARY KEY (case_pk, name)) WITHOUT ROWID;
CREATE INDEX labels_name ON labels (name);
CREATE TABLE attributes (
  case_pk INTEGER NOT NULL REFERENCES cases (pk), name TEXT NOT NULL, known INTEGER NOT NULL, number REAL,
  text TEXT NOT NULL,
  PRIMARY KEY (case_pk, name)) WITHOUT ROWID;
CREATE INDEX attributes_name ON attributes (name);
CREATE TABLE segments (pk INTEGER PRIMARY KEY AUTOINCREMENT, base INTEGER NOT NULL UNIQUE, rows INTEGER NOT NULL);
CREATE TABLE tombstones (row INTEGER PRIMARY KEY, erase INTEGER NOT NULL, digest BLOB);
CREATE TABLE ivf (
  pk INTEGER PRIMARY KEY AUTOINCREMENT, hash TEXT NOT NULL, rows INTEGER NOT NULL, nlist INTEGER NOT NULL,
  nprobe INTEGER NOT NULL, recall REAL NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE queries (key TEXT PRIMARY KEY, vector BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (
  labels, report, questions, other, tokenize = 'porter unicode61 remove_diacritics 2');
"""


def connect(folder: Path, *, readonly: bool) -> sqlite3.Connection:
    """Open the catalogue.

    A folder that cannot be written is read as it stands (SQLite's `immutable`) when no log is pending beside it.

    Raises:
        ResourceError: It cannot be opened.
    """
    file = folder / FILE
    if not readonly:
        connection = _open(file, "")
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error as error:
            connection.close()
            raise _cannot_open(file, error) from error
        return connection
    connection = _open(file, "?mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        log = file.with_name(FILE + "-wal")
        if not file.is_file() or (log.exists() and log.stat().st_size > 0):
            raise _cannot_open(file, error) from error
        connection = _open(file, "?mode=ro&immutable=1")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _cannot_open(file, error) from error
    return connection


def check_file(connection: sqlite3.Connection, folder: Path) -> bool:
    """Whether the file is a library of this version; False when it is still empty.

    Raises:
        BadInputError: It is some other database, or a library of another version.
    """
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        raise _cannot_open(folder / FILE, error) from error
    if application == 0 and version == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise BadInputError("not a vesalius library", item=str(folder), why="the database is of another program")
    if version > VERSION:
        raise BadInputError(
            "the library is too new for this vesalius",
            item=str(folder),
            why=f"it has schema version {version}, this vesalius reads version {VERSION}",
            fix="upgrade vesalius, or index the cases again into another folder",
        )
    if version < VERSION:
        raise BadInputError(
            "the library is too old for this vesalius",
            item=str(folder),
            why=f"it has schema version {version}, this vesalius reads version {VERSION}",
            fix="index the cases again into another folder",
        )
    return True


def create(connection: sqlite3.Connection, meta: dict[str, str]) -> None:
    """Make the tables and write the identity, all in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", list(meta.items()))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _open(file: Path, options: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(file.absolute()))}{options}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=30,
        )
        connection.execute("PRAGMA trusted_schema = OFF")
    except sqlite3.Error as error:
        raise _cannot_open(file, error) from error
    return connection


def _cannot_open(file: Path, error: Exception) -> ResourceError | BadInputError:
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return BadInputError(
            "not a vesalius library", item=str(file), why=str(error), fix="restore the folder from a backup"
        )
    return ResourceError(
        "cannot open the library",
        item=str(file),
        why=str(error),
        fix="check the folder's permissions and free space, or open it with readonly=True",
    )


def sql_error(error: sqlite3.Error, item: str) -> VesaliusError:
    """SQLite's error as one of ours."""
    text = str(error)
    if "full" in text or "I/O" in text:
        return ResourceError(
            "the disk is full" if "full" in text else "cannot write the library",
            item=item,
            why=text,
            fix="free some space and run the same command again; everything reported so far is kept",
        )
    if "locked" in text or "busy" in text:
        return ResourceError(
            "the library is busy", item=item, why=text, fix="wait until the other process has finished, then try again"
        )
    if "readonly" in text or "read-only" in text:
        return ResourceError("cannot write the library", item=item, why=text, fix="check the folder's permissions")
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in text or "not a database" in text):
        return BadInputError("the library is damaged", item=item, why=text, fix="index the cases again")
    return VesaliusError("the library's catalogue failed", item=item, why=text)
