"""Parse a DICOM stream with pydicom, quietly and within budget."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from vesalius.io.formats.stream import inflate, read_all
from vesalius.io.limits import Limits
from vesalius.io.pool.messages import as_error

if TYPE_CHECKING:
    from pydicom import Dataset

DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT = "1.2.840.10008.1.2.1"
#: Enough for any file meta group that is meant well.
_META_BYTES = 4096


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from printing tag values (a name may be among them) and from checking values we check ourselves."""
    from pydicom import config

    if logging.root.manager.disable >= logging.CRITICAL:  # in a decoding process, which says nothing anyway
        config.settings.reading_validation_mode = config.IGNORE
        yield
        return
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        logger.setLevel(level)


def load(
    stream: BinaryIO, item: str, limits: Limits, *, pixels: bool, tags: list[str] | None = None
) -> tuple[Dataset, BinaryIO]:
    """Parse a DICOM stream; a deflated one is inflated within the budget first.

    Args:
        stream: Seekable.
        item: Name for messages.
        limits: Budgets.
        pixels: Read the pixel data too.
        tags: Read these keywords only.

    Returns:
        The data set, and the stream it came from (another one when it was deflated), which stands where the pixels
        start when `pixels` is False.

    Raises:
        BadInputError: It cannot be parsed.
        UnsafeInputError: A deflate bomb, or nested too deeply.
    """
    from pydicom import dcmread

    try:
        stream.seek(0)
        head = stream.read(_META_BYTES)
        stream.seek(0)
        if head[128:132] == b"DICM" and _meta_end(head)[1] == DEFLATED:
            stream = _inflated(stream, item, limits)
        found: Dataset = dcmread(
            stream, stop_before_pixels=not pixels, force=True, specific_tags=None if tags is None else list(tags)
        )
    except Exception as error:
        what = "cannot read DICOM (is the file cut off?)" if pixels else "cannot read DICOM"
        raise as_error(error, item, what) from error
    return found, stream


def _meta_end(head: bytes) -> tuple[int, str, int]:
    """Where the file meta group ends, its transfer syntax, and where that UID's bytes are (PS3.10 7.1: explicit VR)."""
    at, syntax, where = 132, "", 0
    while head[at : at + 2] == b"\x02\x00" and len(head) >= at + 12:
        long = head[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR")
        length = int.from_bytes(head[at + 8 : at + 12] if long else head[at + 6 : at + 8], "little")
        value = at + (12 if long else 8)
        if head[at + 2 : at + 4] == b"\x10\x00":
            syntax, where = head[value : value + length].rstrip(b"\0 ").decode("ascii", "replace"), value
        at = value + length
    return at, syntax, where


def _inflated(stream: BinaryIO, item: str, limits: Limits) -> BinaryIO:
    """The same file with its data set unpacked and its transfer syntax set to say so."""
    raw = read_all(stream, limits, item)
    start, syntax, where = _meta_end(raw)
    # A UID may be padded with zero bytes; keeping its length keeps every other byte of the group in place.
    meta = (
        raw[:where]
        + EXPLICIT.encode().ljust(len(syntax) + len(syntax) % 2, b"\0")
        + raw[where + len(syntax) + len(syntax) % 2 :]
    )
    return io.BytesIO(meta[:start] + inflate(raw[start:], limits, item, wbits=-15))
