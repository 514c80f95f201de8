"""Zip and tar: list, go through, or unpack safely. Any bad member refuses the whole archive."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from vesalius.errors import BadInputError, UnsafeInputError, UsageError
from vesalius.io.formats.stream import open_regular, size_of
from vesalius.io.limits import DEFAULT, Limits, check_inflated

_CHUNK = 1 << 20
#: Bytes a zip's directory may take for each allowed member, before anything of it is parsed.
_DIRECTORY_BYTES = 512
_DRIVE = 1  # a colon in second place: "C:"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive."""

    name: str
    size: int
    handle: Any


def safe_extract(
    archive: str | os.PathLike[str], folder: str | os.PathLike[str], limits: Limits | None = None
) -> list[Path]:
    """Unpack a zip or tar into a folder, all or nothing.

    Refused: absolute names, `..`, drive letters, links, devices, names that differ only in case, duplicates,
    encrypted members, too many files, too many bytes (as declared and as they really come), too high a ratio.

    Args:
        archive: Zip, or tar (plain, gz, bz2, xz).
        folder: Made if it is not there; files already in it are never overwritten.
        limits: Budgets.

    Returns:
        The files written, in the archive's order.

    Raises:
        UnsafeInputError: Something in it could harm.
        BadInputError: It is not an archive, or is damaged.
        UsageError: A file of that name is in the folder already.
    """
    limits = limits or DEFAULT
    path, target = Path(archive), Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    # Everything lands in a folder beside the target's files and moves over only when all of it was fine.
    staging = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target))
    try:
        packed, total = path.stat().st_size, 0
        for member, stream in iter_members(path, limits, str(path)):
            out = staging / member.name
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("xb") as file:
                for chunk in bounded(stream, member, limits, str(path)):
                    total += len(chunk)
                    check_inflated(packed, total, limits, str(path))
                    file.write(chunk)
            names.append(member.name)
        taken = [name for name in names if (target / name).exists()]
        if taken:
            raise UsageError(
                "will not overwrite a file", item=str(target / taken[0]), fix="unpack into an empty folder"
            )
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(target / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [target / name for name in names]


def iter_members(path: Path, limits: Limits, item: str) -> Iterator[tuple[Member, BinaryIO]]:
    """Every regular file of an archive with its (unbounded) stream, in the archive's order, names checked first.

    Raises:
        UnsafeInputError: A member's name, kind or declared size is refused.
        BadInputError: Damaged, encrypted, or not an archive.
    """
    with damage_named(item), open_regular(path, item) as raw:
        if is_zip(raw):
            with open_zip(raw, limits, item) as z:
                for member in zip_members(z, size_of(raw), limits, item):
                    with z.open(member.handle) as stream:
                        yield member, stream  # type: ignore[misc] # ZipExtFile is a BinaryIO in all but name
        else:
            packed = size_of(raw)
            with tarfile.open(fileobj=raw, mode="r|*") as t:
                for member in tar_members(t, packed, limits, item):
                    inner = t.extractfile(member.handle)
                    if inner is not None:
                        yield member, inner  # type: ignore[misc] # ExFileObject is a BinaryIO in all but name


def list_members(path: Path, limits: Limits, item: str) -> list[str]:
    """Names of the regular files, all of them checked.

    Raises:
        UnsafeInputError: As `iter_members`.
        BadInputError: As `iter_members`.
    """
    with damage_named(item), open_regular(path, item) as raw:
        packed = size_of(raw)
        if is_zip(raw):
            with open_zip(raw, limits, item) as z:
                return [m.name for m in zip_members(z, packed, limits, item)]
        with tarfile.open(fileobj=raw, mode="r|*") as t:
            return [m.name for m in tar_members(t, packed, limits, item)]


def bounded(stream: IO[bytes], member: Member, limits: Limits, item: str) -> Iterator[bytes]:
    """The stream in chunks; more bytes than were declared, or than are allowed, end it with an error."""
    got = 0
    with damage_named(item):
        while chunk := stream.read(_CHUNK):
            got += len(chunk)
            if got > member.size:
                raise UnsafeInputError(
                    "archive lies about a size", item=item, why=f"{member.name!r} is larger than declared"
                )
            check_inflated(got, got, limits, item)
            yield chunk
        if got < member.size:
            raise BadInputError("archive is damaged", item=item, why=f"{member.name!r} ends too early")


def is_zip(raw: BinaryIO) -> bool:
    """Whether the first bytes say zip; the position is at the start then."""
    raw.seek(0)
    head = raw.read(4)
    raw.seek(0)
    return head in (b"PK\x03\x04", b"PK\x05\x06")


def open_zip(raw: BinaryIO, limits: Limits, item: str) -> zipfile.ZipFile:
    """Open a zip after a look at how large its directory claims to be: parsing a million entries takes gigabytes."""
    size = size_of(raw)
    raw.seek(max(0, size - 65557))
    tail = raw.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and len(tail) >= at + 16:
        directory = int.from_bytes(tail[at + 12 : at + 16], "little")
        if directory == 0xFFFFFFFF:
            at64 = tail.rfind(b"PK\x06\x06", 0, at)
            directory = int.from_bytes(tail[at64 + 40 : at64 + 48], "little") if at64 >= 0 else size
        if directory > limits.max_files * _DIRECTORY_BYTES:
            raise _too_many(limits, item)
    raw.seek(0)
    return zipfile.ZipFile(raw)


def zip_members(z: zipfile.ZipFile, packed: int, limits: Limits, item: str) -> list[Member]:
    """The regular files of a zip, all of them checked.

    Raises:
        UnsafeInputError: A member's name, kind or declared size is refused.
        BadInputError: One is encrypted.
    """
    infos = z.infolist()
    if len(infos) > limits.max_files:
        raise _too_many(limits, item)
    names = _Names(item)
    out, total = [], 0
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0
        if kind and kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeInputError("archive holds a link or device", item=item, why=repr(info.filename))
        # zipfile cuts a name at a NUL and keeps the rest here; two readers would see two names.
        name = names.check(info.orig_filename if "\0" in info.orig_filename else info.filename, info.is_dir())
        if info.is_dir():
            continue
        if info.flag_bits & 0x1:
            raise BadInputError("archive is encrypted", item=item, fix="unpack it yourself and read the folder")
        total += info.file_size
        check_inflated(packed, total, limits, item)
        out.append(Member(name, info.file_size, info))
    return out


def tar_members(t: tarfile.TarFile, packed: int, limits: Limits, item: str) -> Iterator[Member]:
    """The regular files of a tar, each checked as it is met.

    Raises:
        UnsafeInputError: A member's name, kind or declared size is refused.
    """
    names, total, count = _Names(item), 0, 0
    for info in t:
        count += 1
        if count > limits.max_files:
            raise _too_many(limits, item)
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise UnsafeInputError("archive holds a link or device", item=item, why=repr(info.name))
        name = names.check(info.name, info.isdir())
        if info.isdir():
            continue
        total += info.size
        check_inflated(packed, total, limits, item)
        yield Member(name, info.size, info)


class _Names:
    """Checks names one by one: none may leave the folder, none may meet another on a file system that folds case."""

    def __init__(self, item: str) -> None:
        self._item = item
        self._seen: set[str] = set()

    def check(self, name: str, is_dir: bool) -> str:
        parts = PurePosixPath(name).parts
        escapes = (
            not parts
            or name.startswith("/")
            or ".." in parts
            or "\\" in name
            or "\0" in name
            or any(ord(c) < 32 for c in name)
            or name[_DRIVE : _DRIVE + 1] == ":"
            or any(len(p.encode("utf-8", "surrogateescape")) > 255 for p in parts)
        )
        if escapes and not (is_dir and name in (".", "./")):
            raise UnsafeInputError(
                "archive holds a name that leads out of its folder", item=self._item, why=repr(name[:120])
            )
        if is_dir:
            return name
        key = "/".join(parts).casefold()
        if key in self._seen:
            raise UnsafeInputError("archive holds two files of one name", item=self._item, why=repr(name[:120]))
        self._seen.add(key)
        return name


def _too_many(limits: Limits, item: str) -> UnsafeInputError:
    return UnsafeInputError(
        "archive holds too many files",
        item=item,
        why=f"more than {limits.max_files}",
        fix="if it is trusted, raise max_files of Limits",
    )


@contextmanager
def damage_named(item: str) -> Iterator[None]:
    """Whatever the archive libraries raise over damaged input becomes one named error."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadInputError("cannot read archive", item=item, why=str(error) or type(error).__name__) from error
    except Exception as error:
        # bz2 and gzip raise a bare OSError over damaged data; one with a number comes from the file system.
        if (isinstance(error, OSError) and error.errno is None) or type(error).__module__ in (
            "zlib",
            "lzma",
            "_lzma",
            "_bz2",
        ):
            raise BadInputError("cannot read archive", item=item, why=str(error)) from error
        raise
