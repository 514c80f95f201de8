"""What one untrusted file may cost: pixels, bytes, seconds, memory; checked from headers before allocating."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vesalius.errors import BadInputError, UnsafeInputError, UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """Budgets for reading one item.

    Args:
        max_pixels: Samples of one image: rows x columns x frames x samples per pixel.
        max_bytes: Bytes of one decoded image, one inflated stream, or all that one archive unpacks to.
        max_inflate_ratio: Unpacked bytes for one packed byte, held against what unpacks to more than `ratio_floor`.
        ratio_floor: Bytes below which the ratio is not looked at (an empty film packs a thousandfold).
        max_files: Members of one archive.
        max_header_bytes: Text and tables in front of the pixels (JSON sidecars, array headers).
        seconds: Wall clock (and processor time) for one item in a `DecodePool`.
        memory_bytes: Address space a pool's process may take on top of what it has after its imports.
    """

    max_pixels: int = 2**29
    max_bytes: int = 2 * 2**30
    max_inflate_ratio: float = 250.0
    ratio_floor: int = 64 * 2**20
    max_files: int = 100_000
    max_header_bytes: int = 16 * 2**20
    seconds: float = 60.0
    memory_bytes: int = 4 * 2**30

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise UsageError("a limit must be above 0", item=name, why=f"it is {getattr(self, name)}")


DEFAULT = Limits()


def check_pixels(shape: Iterable[int], bytes_per_sample: float, limits: Limits, item: str) -> None:
    """Refuse a shape that is empty or over budget; call it before allocating.

    Args:
        shape: All axes, channels and frames too.
        bytes_per_sample: Of the decoded array.
        limits: The budgets.
        item: Name for the message.

    Raises:
        BadInputError: An axis is 0 or negative.
        UnsafeInputError: Too many samples or bytes.
    """
    axes = [int(n) for n in shape]
    if any(n <= 0 for n in axes):
        raise BadInputError("image is empty", item=item, why=f"its header says shape {tuple(axes)}")
    samples = 1
    for n in axes:
        samples *= n
    size = samples * bytes_per_sample
    if samples > limits.max_pixels or size > limits.max_bytes:
        raise UnsafeInputError(
            "image is over the pixel budget",
            item=item,
            why=f"its header says shape {tuple(axes)}: {samples} samples, {size:.0f} bytes "
            f"(allowed: {limits.max_pixels} and {limits.max_bytes})",
            fix="if the file is trusted, raise max_pixels and max_bytes of Limits",
        )


def check_inflated(packed: int, unpacked: int, limits: Limits, item: str) -> None:
    """Refuse a stream that unpacks to too much, absolutely or for its size.

    Raises:
        UnsafeInputError: Over `max_bytes`, or over `max_inflate_ratio` beyond the floor.
    """
    if unpacked > limits.max_bytes:
        raise UnsafeInputError(
            "unpacked data is over the byte budget",
            item=item,
            why=f"more than {limits.max_bytes} bytes come out of {packed}",
            fix="if the file is trusted, raise max_bytes of Limits",
        )
    if unpacked > limits.ratio_floor and unpacked > limits.max_inflate_ratio * max(packed, 1):
        raise UnsafeInputError(
            "data unpack to suspiciously much (a bomb?)",
            item=item,
            why=f"{unpacked} bytes out of {packed}, over {limits.max_inflate_ratio:g} to one",
            fix="if the file is trusted, raise max_inflate_ratio of Limits",
        )
