"""Keyed hashes that stand for identifiers."""

from __future__ import annotations

import hashlib
import hmac

#: Key used when the caller gives none. It is public, so whoever knows a PatientID can compute its hash: ids made
#: with it keep cases of one patient together, they do **not** make them anonymous.
PUBLIC_KEY = b"vesalius-public-key-not-a-secret"


def as_key(key: str | bytes | None) -> bytes:
    """A key as bytes; None gives the public one."""
    if key is None:
        return PUBLIC_KEY
    return key.encode() if isinstance(key, str) else key


def pseudonym(prefix: str, text: str, key: bytes) -> str:
    """`prefix-` and 80 bits of HMAC-SHA-256 over `prefix` and `text`."""
    digest = hmac.new(key, f"{prefix}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
    return f"{prefix}-{digest[:20]}"
