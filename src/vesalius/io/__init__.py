"""Reading and writing files: DICOM, NIfTI, rasters, arrays, video, archives; bounded decoding; de-identification.

Everything loads when it is first used: importing this package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.io.decode import case_at, decode_cases, decode_images, decode_one, decoded
    from vesalius.io.formats.archive import safe_extract
    from vesalius.io.holding import hold
    from vesalius.io.limits import Limits
    from vesalius.io.pixels import read_pixels
    from vesalius.io.pool.pool import DecodePool
    from vesalius.io.reading import read

_LAZY = {
    "DecodePool": "vesalius.io.pool.pool",
    "Limits": "vesalius.io.limits",
    "case_at": "vesalius.io.decode",
    "decode_cases": "vesalius.io.decode",
    "decode_images": "vesalius.io.decode",
    "decode_one": "vesalius.io.decode",
    "decoded": "vesalius.io.decode",
    "hold": "vesalius.io.holding",
    "read": "vesalius.io.reading",
    "read_pixels": "vesalius.io.pixels",
    "safe_extract": "vesalius.io.formats.archive",
}

__all__ = [
    "DecodePool",
    "Limits",
    "case_at",
    "decode_cases",
    "decode_images",
    "decode_one",
    "decoded",
    "hold",
    "read",
    "read_pixels",
    "safe_extract",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vesalius.io' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
