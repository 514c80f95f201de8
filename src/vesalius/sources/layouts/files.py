"""Reading tables, JSON and XML from strangers: bounded, named by line, never outside the folder."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from vesalius.errors import BadInputError, ResourceError, UnsafeInputError

#: Longest line of a table, in bytes; a longer one is skipped and named.
MAX_LINE = 4 * 2**20
#: Largest JSON or XML file that is read whole, in bytes.
MAX_TEXT = 2 * 2**30
#: Deepest nesting of JSON and XML.
MAX_DEPTH = 100

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".dcm", ".npy", ".nii", ".nii.gz"}
)

#: (item, why) of everything a reader could not use.
Refused = list[tuple[str, str]]


def suffix_of(name: str) -> str:
    """The suffix in lower case, `.nii.gz` counted as one."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else PurePosixPath(lower).suffix


def stem_of(name: str) -> str:
    """The file name without its folder and suffix, `.nii.gz` counted as one."""
    base = PurePosixPath(name.replace("\\", "/")).name
    return base[: len(base) - len(suffix_of(base))] if suffix_of(base) else base


def is_image(name: str) -> bool:
    """True when the suffix is one of an image or volume."""
    return suffix_of(name) in IMAGE_SUFFIXES


def inside(folder: Path, name: str) -> Path:
    """The path of `name` in `folder`.

    Raises:
        UnsafeInputError: The name is absolute, climbs out with `..`, or leads out through a link.
        BadInputError: There is no such file.
    """
    parts = relative(name)
    path = folder / parts
    try:
        real = Path(os.path.realpath(path))
        found = real.is_file()
    except OSError as error:
        raise BadInputError("cannot use file name", item=name[:200], why=str(error)) from error
    if not real.is_relative_to(os.path.realpath(folder)):
        raise UnsafeInputError("refused file", item=name[:200], why="it is a link that leads outside the folder")
    if not found:
        raise BadInputError("file is not there", item=name[:200], why=f"not in {folder}")
    return path


def relative(name: str) -> str:
    """A name from a table as a relative path with `/`, without `.` parts.

    Raises:
        UnsafeInputError: It is absolute, names a drive, or climbs with `..`.
        BadInputError: It is empty.
    """
    text = name.strip().replace("\\", "/")
    if not text or "\0" in text:
        raise BadInputError("cannot use file name", item=repr(name), why="it is empty or holds a NUL")
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if text.startswith("/") or re.match(r"^[A-Za-z]:", text) or ".." in parts:
        raise UnsafeInputError(
            "refused file name", item=name[:200], why="it leads outside the folder", fix="name files relative to it"
        )
    if not parts:
        raise BadInputError("cannot use file name", item=repr(name), why="it names a folder")
    return "/".join(parts)


def rows(file: Path, refused: Refused, *, needs: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line number; what cannot be read is named and passed by.

    The table has a header; commas, semicolons, tabs or bars between its cells, whichever the header has most of (tabs
    where its suffix is `.tsv` or `.tab`); and is UTF-8, UTF-16 with a byte order mark, or Windows-1252.
    Handles a byte order mark, CRLF, quoted cells with line breaks, and lines and cells of any length (refused above
    `MAX_LINE` and the csv module's cell limit). Repeated column names are refused, as one of them would be lost.

    Args:
        file: The table.
        refused: Gets `(file:line, why)`.
        needs: Columns without which nothing of the table can be used.
    """
    form = _form(file)
    reader = csv.reader(_lines(file, refused, form.encoding), delimiter=form.delimiter, strict=True)
    header: list[str] | None = None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            refused.append((f"{file.name}:{reader.line_num}", f"the row is not CSV ({error})"))
            continue
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip() for cell in row]
            named = [h for h in header if h]
            if len(set(named)) < len(named):
                refused.append((f"{file.name}:1", "two columns have one name"))
                return
            if missing := [n for n in needs if n not in named]:
                refused.append((f"{file.name}:1", f"there is no column {missing[0]!r}"))
                return
            continue
        if form.delimiter != "," or len(row) > len(header):
            # A spreadsheet ends lines with separators of columns that it thinks it has.
            while len(row) > len(header) and not row[-1].strip():
                row.pop()
        if len(row) != len(header):
            why = f"the row has {len(row)} cells, the header {len(header)}"
            refused.append((f"{file.name}:{reader.line_num}", why))
            continue
        yield reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=True))


@dataclass(frozen=True)
class _Form:
    """How a table is written: what divides its cells, and in which encoding."""

    delimiter: str
    encoding: str


def _form(file: Path) -> _Form:
    """Found out from the first bytes: byte order mark, else UTF-8, else Windows-1252; the separator from the header."""
    try:
        with gzip.open(file, "rb") if file.name.endswith(".gz") else file.open("rb") as data:
            head = data.read(1 << 16)
    except (OSError, EOFError, zlib.error):
        return _Form(",", "utf-8")
    encoding = "utf-8"
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    elif not head.startswith(codecs.BOM_UTF8) and not _is_utf8(file):
        encoding = "cp1252"
    first = next((line for line in head.decode(encoding, "replace").lstrip("\ufeff").splitlines() if line.strip()), "")
    if file.name.removesuffix(".gz").endswith((".tsv", ".tab")):
        return _Form("\t", encoding)
    bare = re.sub(r'"[^"]*"', "", first)
    # The comma wins a tie: it is what a .csv says it has.
    return _Form(max(",;\t|", key=lambda d: (bare.count(d), d == ",")), encoding)


def _is_utf8(file: Path) -> bool:
    """Whether most of a table is UTF-8; single rows of other bytes are then refused by themselves."""
    bad = lines = 0
    with gzip.open(file, "rb") if file.name.endswith(".gz") else file.open("rb") as data:
        for raw in itertools.islice(iter(lambda: data.readline(MAX_LINE), b""), 10_000):
            lines += 1
            try:
                raw.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                # Windows-1252 has no letters at five places, and control characters are no text.
                bad += all(b not in b"\x81\x8d\x8f\x90\x9d" for b in raw[error.start : error.end])
    return bad == 0


def header(file: Path) -> tuple[str, ...]:
    """The column names of a table, empty when it has none that can be read."""
    try:
        form = _form(file)
        first = next(csv.reader(_lines(file, [], form.encoding), delimiter=form.delimiter), [])
    except (csv.Error, OSError):
        return ()
    return tuple(cell.strip() for cell in first)


def _lines(file: Path, refused: Refused, encoding: str = "utf-8") -> Iterator[str]:
    """Lines as text. A line that is refused becomes an empty one, so that line numbers stay right."""
    if encoding == "utf-16":
        yield from _utf16_lines(file, refused)
        return
    with gzip.open(file, "rb") if file.name.endswith(".gz") else file.open("rb") as data:
        number = 0
        while True:
            number += 1
            try:
                raw = data.readline(MAX_LINE)
            except (EOFError, zlib.error, OSError) as error:
                refused.append((f"{file.name}:{number}", f"the file is damaged from here on ({error})"))
                return
            if not raw:
                return
            if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                refused.append((f"{file.name}:{number}", f"the line is over {MAX_LINE} bytes"))
                try:
                    while (rest := data.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                except (EOFError, zlib.error, OSError):
                    return
                yield "\n"
                continue
            try:
                text = raw.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding)
            except UnicodeDecodeError as error:
                refused.append((f"{file.name}:{number}", f"the line is not UTF-8 ({error.reason})"))
                yield "\n"
                continue
            if "\0" in text:
                refused.append((f"{file.name}:{number}", "the line holds a NUL"))
                yield "\n"
                continue
            yield text


def _utf16_lines(file: Path, refused: Refused) -> Iterator[str]:
    """Lines of a UTF-16 table, which is read whole: its line ends cannot be found byte by byte."""
    try:
        text = _whole(file).decode("utf-16")
    except (UnicodeDecodeError, ResourceError, BadInputError) as error:
        refused.append((f"{file.name}:1", f"the table is not UTF-16 as it says ({error})"))
        return
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if "\0" in line:
            refused.append((f"{file.name}:{number}", "the line holds a NUL"))
        yield "\n" if "\0" in line else line


def read_json(file: Path) -> Any:
    """A JSON file, refused when it is too large, too deep, or has one key twice.

    Raises:
        BadInputError: It is not JSON in UTF-8, or nested deeper than `MAX_DEPTH`.
        ResourceError: It is larger than `MAX_TEXT`.
    """
    data = _whole(file)
    if _depth(data) > MAX_DEPTH:
        raise BadInputError("cannot read JSON", item=file.name, why=f"it is nested deeper than {MAX_DEPTH}")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BadInputError("cannot read JSON", item=file.name, why=str(error)) from error


def read_xml(file: Path) -> Element:
    """An XML file without document type and entities: nothing in it can expand or point elsewhere.

    Raises:
        UnsafeInputError: It declares a document type or an entity.
        BadInputError: It is not XML, or nested deeper than `MAX_DEPTH`.
        ResourceError: It is larger than `MAX_TEXT`.
    """
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise UnsafeInputError("refused XML", item=file.name, why="it declares a document type or an entity")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise BadInputError("cannot read XML", item=file.name, why=f"it is nested deeper than {MAX_DEPTH}")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(_whole(file), True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise BadInputError("cannot read XML", item=file.name, why=str(error)) from error


def _whole(file: Path) -> bytes:
    size = file.stat().st_size
    if size > MAX_TEXT:
        raise ResourceError("file is too large", item=file.name, why=f"{size} bytes, at most {MAX_TEXT} are read")
    return file.read_bytes()


def _depth(data: bytes) -> int:
    """How deep brackets nest outside strings."""
    step = np.zeros(256, np.int8)
    step[[ord("["), ord("{")]], step[[ord("]"), ord("}")]] = 1, -1
    # Escapes are pairs from the left, so that what stays behind of quotes opens and closes strings.
    plain = data.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in data else data
    deep = level = quotes = 0
    for start in range(0, len(plain), 2**22):
        part = np.frombuffer(plain[start : start + 2**22], np.uint8)
        opened = quotes + np.cumsum(part == ord('"'), dtype=np.int64)
        levels = level + np.cumsum(np.where(opened % 2 == 0, step[part], 0), dtype=np.int64)
        deep, level, quotes = max(deep, int(levels.max())), int(levels[-1]), int(opened[-1])
    return deep


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice in one object")
    return found


class FileIndex:
    """Finds images by the name a table gives: a path in the folder, else a file name (or stem) in the image roots.

    Args:
        folder: The data set.
        roots: Globs of folders to look in.
        suffixes: Tried when the name has none.
    """

    def __init__(self, folder: Path, roots: Sequence[str] = (".",), suffixes: Sequence[str] = ()) -> None:
        self.folder, self.roots, self.suffixes = folder, tuple(roots), tuple(suffixes)
        self._files: dict[str, bool] = {}
        self._names: dict[str, list[str]] | None = None

    def find(self, name: str) -> Path:
        """The file.

        Raises:
            BadInputError: It is not there, or two files have this name.
            UnsafeInputError: The name leads outside the folder.
        """
        plain = relative(name)
        names = self._index()
        tries = [plain] if is_image(plain) else [*(plain + s for s in self.suffixes), plain]
        for attempt in tries:
            if attempt in self._files or "." not in self.roots:
                try:
                    return self._checked(attempt)
                except UnsafeInputError:
                    raise
                except BadInputError:
                    continue
        for attempt in tries:
            # A table's `a/x.png` may stand for `images/a/x.png`, never for `images/b/x.png`.
            found = [f for f in names.get(attempt.rpartition("/")[2], ()) if f.endswith("/" + attempt)]
            if len(found) > 1:
                raise BadInputError(
                    "cannot tell which file is meant", item=name[:200], why=f"{len(found)} files have this name"
                )
            if found:
                return self._checked(found[0])
        raise BadInputError("file is not there", item=name[:200], why=f"not in {self.folder}")

    def _checked(self, place: str) -> Path:
        """A file that was seen on the walk and is no link needs no second look."""
        if self._files.get(place) is False:
            return self.folder / place
        return inside(self.folder, place)

    def _index(self) -> dict[str, list[str]]:
        """File name to places; `_files` says of each place whether it is a link."""
        if self._names is None:
            self._names = {}
            starts = {
                start.relative_to(self.folder).as_posix()
                for root in self.roots
                for start in ([self.folder] if root == "." else self.folder.glob(root))
                if start.is_dir() and not start.is_symlink()
            }
            for start in sorted(starts):
                self._walk("" if start == "." else start, self._names)
        return self._names

    def _walk(self, start: str, names: dict[str, list[str]]) -> None:
        waiting = [start]
        while waiting:
            place = waiting.pop()
            try:
                entries = sorted(os.scandir(self.folder / place), key=lambda e: e.name)
            except OSError:  # a folder that may not be listed; what it holds is then reported as not there
                continue
            for entry in entries:
                name = f"{place}/{entry.name}" if place else entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name)
                elif name not in self._files and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                    self._files[name] = entry.is_symlink()
                    names.setdefault(entry.name, []).append(name)


def walk(folder: Path) -> Iterator[Path]:
    """All plain files below a folder in a fixed order; links to folders are not followed."""
    for where, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(names):
            yield Path(where) / name
