"""Members of archives one after another: an archive is opened once in a process and read on, not again for each member.

A packed tar can only be read from its front: whoever asks for its members in their order pays for one pass in all. A
zip and a plain tar have an index. What is kept of an archive between two questions is bounded.
"""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from vesalius.errors import BadInputError
from vesalius.io.formats.archive import Member, bounded, damage_named, is_zip, open_zip, tar_members, zip_members
from vesalius.io.formats.stream import open_regular, size_of
from vesalius.io.limits import Limits

__all__ = ["MemberReader", "read_member", "reading"]

#: Archives that a process holds open between two questions.
HELD = 2
#: Bytes of members kept of one packed tar, for those asked for again or a little out of order.
KEPT_BYTES = 64 * 2**20

_Key = tuple[int, str, int, int, int, int, Limits]


class MemberReader:
    """One open archive. Not for two threads at once: `reading` lends it to one at a time.

    Args:
        path: A zip or a tar (plain, gz, bz2, xz).
        limits: Budgets.
        item: What messages call the archive.

    Raises:
        BadInputError: Damaged, encrypted, or not an archive.
        UnsafeInputError: A member of an indexed archive is refused.
    """

    def __init__(self, path: Path, limits: Limits, item: str) -> None:
        self._limits, self._item = limits, item
        self._raw = open_regular(path, item)
        try:
            with damage_named(item):
                self._packed = size_of(self._raw)
                self._open()
        except BaseException:
            self._raw.close()
            raise

    def _open(self) -> None:
        self._whole: zipfile.ZipFile | tarfile.TarFile | None = None
        self._members: list[Member] = []
        self._pass: Iterator[tuple[Member, BinaryIO]] | None = None
        self._tar: tarfile.TarFile | None = None
        self._unpacked = 0
        #: How many members of the pass were met, and the place of each name in the archive.
        self._at = 0
        self._complete = False
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        if is_zip(self._raw):
            self._whole = open_zip(self._raw, self._limits, self._item)
            self._members = zip_members(self._whole, self._packed, self._limits, self._item)
        elif _is_plain(self._raw):
            self._whole = tarfile.open(fileobj=self._raw, mode="r:")  # noqa: SIM115 - open as long as the reader
            self._members = list(tar_members(self._whole, self._packed, self._limits, self._item))
        self._places = {m.name: n for n, m in enumerate(self._members)}
        self._complete = self._whole is not None

    def close(self) -> None:
        """Release the file and what was kept."""
        self._kept.clear()
        self._pass = None
        if self._whole is not None:
            self._whole.close()
        self._raw.close()

    @property
    def unpacked(self) -> int:
        """Bytes that came out of a packed tar so far, members that were passed over included."""
        return self._unpacked + (0 if self._tar is None else _position(self._tar))

    def read(self, names: Iterable[str], label: str) -> Iterator[tuple[str, bytes]]:
        """The bytes of some members, in the archive's order as far as that saves reading.

        Args:
            names: Members; each is given once.
            label: What messages call the archive here.

        Raises:
            BadInputError: One is not there, or is damaged.
            UnsafeInputError: One unpacks to too much.
        """
        wanted = set(names)
        if self._complete and (lost := wanted - self._places.keys()):
            raise _lost(f"{label}!{min(lost)}")
        if self._whole is not None:
            for name in sorted(wanted, key=self._places.__getitem__):
                with self._stream(self._members[self._places[name]]) as stream:
                    yield name, self._bytes(stream, self._members[self._places[name]], f"{label}!{name}")
            return
        for name in [name for name in self._kept if name in wanted]:
            self._kept.move_to_end(name)
            yield name, self._kept[name]
            wanted.discard(name)
        small = min(KEPT_BYTES // 4, self._limits.max_bytes)
        # On from here where one may lie ahead, then once from the front.
        for start in (self._at, 0) if self._at else (0,):
            if not wanted or (start and all(self._places.get(name, start) < start for name in wanted)):
                continue
            for member, stream in self._onward(start):
                if member.name in wanted:
                    data = self._bytes(stream, member, f"{label}!{member.name}")
                    self._keep(member.name, data)
                    wanted.discard(member.name)
                    yield member.name, data
                    if not wanted:
                        return
                elif member.size <= small:
                    self._keep(member.name, self._bytes(stream, member, f"{label}!{member.name}"))
        if wanted:
            raise _lost(f"{label}!{min(wanted)}")

    def walk(self, start: int, stop: int) -> Iterator[tuple[Member, BinaryIO]]:
        """Members `start` to `stop` with their (unbounded) streams; the run after it goes on where this one ended.

        Raises:
            UnsafeInputError: A member's name, kind or declared size is refused.
            BadInputError: Damaged.
        """
        if self._whole is not None:
            for member in self._members[start:stop]:
                with self._stream(member) as stream:
                    yield member, stream
            return
        if start >= stop:
            return
        for member, stream in self._onward(self._at if self._at <= start else 0):
            if self._at > start:
                yield member, stream
            if self._at >= stop:
                return

    def _stream(self, member: Member) -> Any:
        with damage_named(self._item):
            if isinstance(self._whole, zipfile.ZipFile):
                return self._whole.open(member.handle)
            return self._whole.extractfile(member.handle)  # type: ignore[union-attr] # asked where there is an index

    def _bytes(self, stream: IO[bytes], member: Member, item: str) -> bytes:
        return b"".join(bounded(stream, member, self._limits, item))

    def _onward(self, start: int) -> Iterator[tuple[Member, BinaryIO]]:
        """The pass through a packed tar: from where it is, or anew where `start` is 0 or it came to an end."""
        if self._pass is None or not start:
            self._unpacked, self._tar, self._at = self.unpacked, None, 0
            self._pass = self._from_front()
        try:
            for found in self._pass:
                self._places[found[0].name] = self._at
                self._at += 1
                yield found
            self._pass, self._complete = None, True
            self._unpacked, self._tar, self._at = self.unpacked, None, 0
        except Exception:
            self._pass, self._at = None, 0
            raise

    def _from_front(self) -> Iterator[tuple[Member, BinaryIO]]:
        self._raw.seek(0)
        with damage_named(self._item), tarfile.open(fileobj=self._raw, mode="r|*") as tar:
            self._tar = tar
            for member in tar_members(tar, self._packed, self._limits, self._item):
                stream = tar.extractfile(member.handle)
                if stream is not None:
                    yield member, stream  # type: ignore[misc] # ExFileObject is a BinaryIO in all but name

    def _keep(self, name: str, data: bytes) -> None:
        self._kept[name] = data
        self._kept.move_to_end(name)
        total = sum(map(len, self._kept.values()))
        while total > KEPT_BYTES:
            total -= len(self._kept.popitem(last=False)[1])


def _is_plain(raw: BinaryIO) -> bool:
    """Whether a tar is not packed."""
    raw.seek(0)
    try:
        with tarfile.open(fileobj=raw, mode="r:"):
            return True
    except tarfile.ReadError:
        return False
    finally:
        raw.seek(0)


def _position(tar: tarfile.TarFile) -> int:
    return int(tar.fileobj.tell()) if tar.fileobj is not None else 0


def _lost(item: str) -> BadInputError:
    return BadInputError("cannot read", item=item, why="the archive has no such member (or has it twice)")


_free: OrderedDict[_Key, MemberReader] = OrderedDict()
_lock = threading.Lock()


@contextmanager
def reading(path: Path, limits: Limits, item: str) -> Iterator[MemberReader]:
    """This process's reader of an archive, where it was left; whoever asks meanwhile gets one of its own.

    A file that was written anew is another archive.

    Raises:
        BadInputError: As `MemberReader`.
        UnsafeInputError: As `MemberReader`.
        OSError: The file is gone or may not be read.
    """
    at = path.stat()
    # A forked process shares the parent's place in the file: it opens its own.
    key = os.getpid(), str(path), at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, limits
    with _lock:
        reader = _free.pop(key, None)
    reader, fit = reader or MemberReader(path, limits, item), False
    try:
        yield reader
        fit = True
    except GeneratorExit:
        fit = True  # somebody had enough
        raise
    finally:
        # Where it stands in a damaged file is not worth knowing.
        for old in _put_back(key, reader) if fit else [reader]:
            old.close()


def _put_back(key: _Key, reader: MemberReader) -> list[MemberReader]:
    """Keep a reader for the next question; those that give way."""
    with _lock:
        late = [_free.pop(k) for k in [k for k in _free if k[:2] == key[:2]]]
        _free[key] = reader
        while len(_free) > HELD:
            late.append(_free.popitem(last=False)[1])
    return late


def read_member(path: Path, name: str, limits: Limits, item: str) -> bytes:
    """The bytes of one member, bounded by the limits whatever its header says.

    Raises:
        BadInputError: No such member, or damaged.
        UnsafeInputError: It unpacks to too much.
    """
    label = item.removesuffix(f"!{name}")
    with reading(path, limits, label) as reader:
        ((_, data),) = reader.read([name], label)
    return data
