"""What the library hands back: hits with their reasons, reports of adding and checking, vectors with their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Value = str | int | float | None


@dataclass(frozen=True)
class Hit:
    """One case found, shown by its best image.

    Args:
        rank: 1 for the best.
        score: Cosine (`vector`), negated BM25 (`text`) or reciprocal-rank sum (`hybrid`); higher is better.
        id: Id of the case.
        image: Index of the image within the case.
        patient: The case's group: the patient's pseudonym, or `case:<id>` when there is none.
        modality: DICOM modality code of the image.
        labels: Label name to value.
        attributes: Age, sex, site ...
        caption: A snippet around the words that matched, or the start of the report.
        path: File of the image, or "" when it was only in memory.
        why: Reasons in words.
    """

    rank: int
    score: float
    id: str
    image: int
    patient: str
    modality: str
    labels: Mapping[str, Value]
    attributes: Mapping[str, Any]
    caption: str
    path: str
    why: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "why": list(self.why)}


@dataclass(frozen=True)
class Plan:
    """How a search was carried out, so that nobody has to guess.

    Args:
        mode: `vector`, `text` or `hybrid`.
        method: `exact`, `ivf` (approximate, plus an exact scan of the rows not yet in the index) or `text`.
        rows: Vectors in the library.
        candidates: Vectors that the filter left, or None without a filter.
        excluded_patient: Patient whose images were left out, or "".
        nprobe: Lists visited by the approximate index (0: not used).
        recall: Recall@10 that the index measured when it was built, or None.
        tail: Rows scanned exactly because the index does not cover them yet.
        warnings: What the user should know.
    """

    mode: str
    method: str = ""
    rows: int = 0
    candidates: int | None = None
    excluded_patient: str = ""
    nprobe: int = 0
    recall: float | None = None
    tail: int = 0
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Hits(Sequence[Hit]):
    """Hits in order, best first, and how they were found. `str` of it is what people read."""

    hits: tuple[Hit, ...]
    plan: Plan

    @overload
    def __getitem__(self, at: int) -> Hit: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, at: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[at]

    def __len__(self) -> int:
        return len(self.hits)

    def __str__(self) -> str:
        lines = []
        for hit in self:
            facts = [hit.modality, *(f"{k}={v}" for k, v in hit.labels.items() if v not in (0, None))]
            facts += [f"{k}={v}" for k, v in hit.attributes.items() if k in ("age", "sex")]
            lines.append(f"{hit.rank:>2}  {hit.score:.4f}  {hit.id}  {' '.join(str(f) for f in facts[:8])}")
            lines += [f"      {reason}" for reason in hit.why]
            if hit.path:
                lines.append(f"      {hit.path}")
        return "\n".join(lines or ["nothing found"])

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"hits": [hit.to_dict() for hit in self], "plan": self.plan.to_dict()}


@dataclass(frozen=True)
class AddReport:
    """What one call of `add` did.

    Args:
        added: Cases that are new.
        skipped: Cases that were there already with the same content.
        refused: (item, why) for every image or case that could not be used.
        seconds: Wall clock.
        updated: Cases whose record or images changed and were written again.
        images: Vectors written.
    """

    added: int
    skipped: int
    refused: tuple[tuple[str, str], ...]
    seconds: float
    updated: int = 0
    images: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "refused": [list(pair) for pair in self.refused]}


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that are alike beyond a threshold, joined transitively.

    Args:
        items: (case id, image index), in order of adding.
        similarity: The lowest cosine among the pairs that joined the group.
        same_pixels: Whether all have identical stored values.
        patients: The patients they belong to; more than one is worth a look before any split.
    """

    items: tuple[tuple[str, int], ...]
    similarity: float
    same_pixels: bool
    patients: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "items": [list(item) for item in self.items],
            "similarity": self.similarity,
            "same_pixels": self.same_pixels,
            "patients": list(self.patients),
        }


@dataclass(frozen=True)
class Problem:
    """One thing that `check` found: its kind, the item and the cause; `fatal` unless search is unharmed."""

    kind: str
    item: str
    why: str
    fatal: bool = True


@dataclass(frozen=True)
class CheckReport:
    """The library's own examination: `ok` is true when nothing fatal was found."""

    problems: tuple[Problem, ...]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No fatal problem."""
        return not any(p.fatal for p in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        problems = [dataclasses.asdict(p) for p in self.problems]
        return {"ok": self.ok, "problems": problems, "counts": dict(self.counts)}


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors with what belongs to them, one row an image.

    Args:
        ids: Case id of each row.
        images: `(n,)` index of the image within its case.
        patients: Group of each row, for splits and folds.
        vectors: `(n, dim)` unit vectors.
        values: Label value of each row; empty where no label was asked for.
    """

    ids: tuple[str, ...]
    images: IntArray
    patients: tuple[str, ...]
    vectors: FloatArray
    values: tuple[Value, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)
