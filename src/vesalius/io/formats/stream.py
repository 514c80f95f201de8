"""Streams of bytes: opened only where they are regular files, read and unpacked within limits."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO

from vesalius.errors import BadInputError
from vesalius.io.limits import Limits, check_inflated

__all__ = ["inflate", "open_regular", "read_all", "size_of"]

_CHUNK = 1 << 20


def open_regular(path: Path, item: str) -> BinaryIO:
    """Open a regular file; a pipe, a device or a folder is refused without waiting for it.

    Raises:
        BadInputError: It is something else.
        OSError: It is gone or may not be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        if path.is_dir():
            raise BadInputError("cannot read", item=item, why="it is a folder") from None
        raise
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise BadInputError("cannot read", item=item, why=f"it is {_kind(mode)}, not a file")
    return os.fdopen(handle, "rb")


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISLNK, "a link"),
    ):
        if test(mode):
            return word
    return "something special"


def size_of(stream: BinaryIO) -> int:
    """Bytes in a seekable stream; the position stays."""
    at = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(at)
    return end


def read_all(stream: BinaryIO, limits: Limits, item: str) -> bytes:
    """Everything from the stream's start.

    Raises:
        UnsafeInputError: Over `max_bytes`.
    """
    size = size_of(stream)
    check_inflated(size, size, limits, item)
    stream.seek(0)
    return stream.read()


def inflate(data: bytes, limits: Limits, item: str, *, wbits: int, most: int | None = None) -> bytes:
    """Unpack a zlib, raw deflate or gzip stream without ever holding more than allowed.

    Args:
        data: The packed bytes.
        limits: The budgets.
        item: Name for messages.
        wbits: As in `zlib.decompressobj`: -15 raw deflate, 31 gzip.
        most: Stop quietly after this many bytes (to look at a header), or None for all.

    Raises:
        BadInputError: Damaged or cut off.
        UnsafeInputError: A bomb.
    """
    out = bytearray()
    rest = data
    try:
        while rest and (most is None or len(out) < most):  # gzip streams may follow each other
            unpacker = zlib.decompressobj(wbits)
            while rest and not unpacker.eof and (most is None or len(out) < most):
                out += unpacker.decompress(rest, _CHUNK if most is None else most - len(out))
                rest = unpacker.unconsumed_tail
                check_inflated(len(data), len(out), limits, item)
            if not unpacker.eof:
                if most is None:
                    raise BadInputError("cannot unpack", item=item, why="the packed data end too early")
                break
            rest = unpacker.unused_data if wbits == 31 else b""
            if not rest.startswith(b"\x1f\x8b"):
                break
    except zlib.error as error:
        raise BadInputError("cannot unpack", item=item, why=f"the packed data are damaged ({error})") from error
    return bytes(out)
