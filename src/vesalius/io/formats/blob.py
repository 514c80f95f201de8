"""One file to read: on disk, or a member of an archive read without unpacking it to disk."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vesalius.io.formats.members import read_member
from vesalius.io.formats.stream import open_regular
from vesalius.io.limits import Limits


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes with a name.

    Args:
        path: The file on disk.
        member: Name inside the archive at `path`, or "".
        item: What messages call it: the path relative to what was read.
    """

    path: Path
    member: str = ""
    item: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.item or (f"{self.path}!{self.member}" if self.member else str(self.path))

    @property
    def suffix(self) -> str:
        """The last extension, in lower case."""
        return Path(self.member or self.path.name).suffix.lower()

    def open(self, limits: Limits) -> BinaryIO:
        """A seekable stream over the bytes.

        Raises:
            BadInputError: Not a regular file.
            UnsafeInputError: A member unpacks to more than the limits allow.
            OSError: The file is gone or may not be read.
        """
        if not self.member:
            return open_regular(self.path, self.name)
        return io.BytesIO(read_member(self.path, self.member, limits, self.name))
