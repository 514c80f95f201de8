"""One writer at a time: an advisory lock on a file of the library's folder, released by the kernel if we die."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vesalius.errors import MissingError, ResourceError

FILE = "writer.lock"


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the writer's lock; readers are not affected.

    Raises:
        ResourceError: Another process (or another `Library` of this one) is writing.
    """
    if sys.platform == "win32":
        raise MissingError("writing a library needs a POSIX system", item=str(folder), fix="use WSL or a container")
    import fcntl

    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ResourceError(
            "cannot write the library", item=str(folder), why=str(error), fix="open it with readonly=True to search it"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ResourceError(
                "the library is being written by another process",
                item=str(folder),
                why=f"process {owner} holds {FILE}",
                fix="wait until it has finished; searching goes on meanwhile",
            ) from error
        with contextlib.suppress(OSError):  # the number is for the message alone; a full disk must not stop a delete
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)
