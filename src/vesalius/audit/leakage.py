"""Leakage: the same patient, the same file or the same picture on two sides of a split.

Pictures are compared as 16 x 16 thumbnails with the mean taken out and unit length: their inner product is a
correlation. Exact copies are found by the hash of the stored values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.errors import BadInputError, UsageError

__all__ = ["Leak", "leakage", "near_pairs", "thumbnail"]

Floats = npt.NDArray[np.float32]
SIDE = 16


@dataclass(frozen=True)
class Leak:
    """Two cases that should not be on two sides of a split.

    Args:
        kind: `patient`, `exact` (same stored values) or `near` (same picture, changed a little).
        a: Id in the first part.
        b: Id in the second part.
        parts: The two parts.
        similarity: Correlation of the thumbnails (1 for exact copies, 0 where only the patient is the same).
        flipped: The second matches only when mirrored.
    """

    kind: str
    a: str
    b: str
    parts: tuple[str, str]
    similarity: float = 0.0
    flipped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "parts": list(self.parts)}


def leakage(
    parts: Mapping[str, Sequence[Case]], *, least: float = 0.985, flips: bool = True, pixels: bool = True
) -> tuple[Leak, ...]:
    """Leaks between every two parts of a split.

    Args:
        parts: Part name to cases.
        least: Correlation of thumbnails from which two pictures count as the same.
        flips: Look for mirrored copies too.
        pixels: Compare pictures (else patients only).

    Returns:
        At most one leak of each kind for two cases, patients first.

    Raises:
        UsageError: Fewer than two parts.
    """
    if len(parts) < 2:
        raise UsageError("leakage needs at least two parts of a split")
    leaks: list[Leak] = []
    of_patient: dict[str, dict[str, str]] = defaultdict(dict)
    for part, cases in parts.items():
        for case in cases:
            of_patient[case.group].setdefault(part, case.id)
    for where in of_patient.values():
        names = sorted(where)
        leaks += [Leak("patient", where[p], where[q], (p, q)) for i, p in enumerate(names) for q in names[i + 1 :]]
    if not pixels:
        return tuple(leaks)
    rows = [(part, case.id, image) for part, cases in parts.items() for case in cases for image in case.images]
    kept: list[tuple[str, str]] = []
    thumbs: list[Floats] = []
    by_hash: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for part, case_id, image in rows:
        array = image.pixels()
        by_hash[image.content_hash()].append((part, case_id))
        thumb = thumbnail(array)
        if thumb is not None:
            kept.append((part, case_id))
            thumbs.append(thumb)
    exact: set[tuple[str, str]] = set()
    for same in by_hash.values():
        for i, (p, a) in enumerate(same):
            for q, b in same[i + 1 :]:
                if p != q and (a, b) not in exact:
                    exact.add((a, b))
                    leaks.append(Leak("exact", a, b, (p, q), 1.0))
    if not thumbs:
        return tuple(leaks)
    table = np.stack(thumbs)
    part_of = np.asarray([p for p, _ in kept])
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    for mirrored in (False, True) if flips else (False,):
        other = table.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(table), -1) if mirrored else table
        for i, j, similarity in near_pairs(table, other, least):
            if part_of[i] != part_of[j] and i < j and (i, j) not in found:
                found[i, j] = (similarity, mirrored)
    for (i, j), (similarity, mirrored) in sorted(found.items()):
        (p, a), (q, b) = kept[i], kept[j]
        if (a, b) not in exact:
            leaks.append(Leak("near", a, b, (p, q), round(similarity, 4), mirrored))
    return tuple(leaks)


def thumbnail(array: npt.NDArray[Any]) -> Floats | None:
    """`(256,)` unit vector of a picture (the middle slice or frame of more); None for a flat one."""
    from PIL import Image

    values = np.asarray(array, dtype=np.float32)
    if values.ndim == 4 or (values.ndim == 3 and values.shape[-1] not in (1, 3, 4)):
        values = values[len(values) // 2]
    if values.ndim == 3:
        values = values[..., :3].mean(axis=-1)
    if values.ndim != 2:
        raise BadInputError("cannot make a thumbnail", why=f"shape {np.shape(array)}")
    small = np.asarray(Image.fromarray(np.ascontiguousarray(values)).resize((SIDE, SIDE), Image.Resampling.BOX))
    flat = small.reshape(-1).astype(np.float32)
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return None if length < 1e-3 * SIDE else flat / np.float32(length)


def near_pairs(a: Floats, b: Floats, least: float, block: int = 2048) -> Iterator[tuple[int, int, float]]:
    """Pairs (i, j, similarity) of rows whose inner product is at least `least`, in blocks that fit the cache."""
    for start in range(0, len(a), block):
        product = a[start : start + block] @ b.T
        for i, j in np.argwhere(product >= least):
            yield int(start + i), int(j), float(product[i, j])
