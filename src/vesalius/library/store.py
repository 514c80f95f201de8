"""What the library asks of its storage: a small protocol, so that another back-end can take the local one's place.

Rows are numbered from 0 in the order of adding; a deleted row keeps its number until `compact`. `View.generation`
changes whenever a row's meaning may have changed (delete, compact), never when rows are only added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.library.results import CheckReport, FloatArray, IntArray
from vesalius.library.where import Condition


@dataclass(frozen=True)
class Identity:
    """Which model and preprocessing made the vectors; a query from any other is refused."""

    model: str
    fingerprint: str
    preprocess: str
    dim: int


@dataclass(frozen=True)
class KnownImage:
    """An image whose vector is in the library; `stamp` tells whether the file has changed since."""

    row: int
    stamp: str


@dataclass(frozen=True)
class KnownCase:
    """A case that is in the library: the digest of its record and its images by index."""

    digest: str
    images: Mapping[int, KnownImage]


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """An image to store; `vector` is None where the stored vector of the same index stays valid."""

    n: int
    image: Image
    stamp: str
    vector: FloatArray | None = None
    thumb: bytes = b""
    sha: str = ""


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """A case to store; it takes the place of a stored case of the same id."""

    case: Case
    record: str
    digest: str
    images: tuple[ImageEntry, ...]


@dataclass(frozen=True, eq=False)
class View:
    """A consistent picture of the rows: how many there are, and which of them are dead (sorted)."""

    generation: int
    rows: int
    dead: IntArray


@dataclass(frozen=True, eq=False)
class RowFacts:
    """What a hit shows of a row."""

    row: int
    case_pk: int
    id: str
    n: int
    patient: str
    modality: str
    path: str
    labels: Mapping[str, Any]
    attributes: Mapping[str, Any]
    caption: str


@dataclass(frozen=True)
class TextMatch:
    """A case whose text matched: BM25 (negated, higher is better), where, and which words."""

    case_pk: int
    row: int
    score: float
    snippet: str
    terms: tuple[str, ...]


@dataclass(frozen=True)
class IvfRecord:
    """The approximate index in use: its number, the hash of the vectors it covers, and what it measured."""

    pk: int
    hash: str
    rows: int
    nlist: int
    nprobe: int
    recall: float


class StaleError(Exception):
    """The view was made before rows changed their meaning; take a new one."""


class Store(Protocol):
    """Catalogue, vectors and full text of one library."""

    @property
    def identity(self) -> Identity:
        """Who made the vectors."""
        ...

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Be the only writer; what an earlier writer left half done is settled on entry."""
        ...

    def commit(self, entries: Sequence[CaseEntry]) -> int:
        """Store cases, all or none; returns the number of vectors written."""
        ...

    def delete(self, ids: Sequence[str], *, erase: bool) -> int:
        """Remove cases, with `erase` the bytes of their vectors, pictures, words too; returns how many there were."""
        ...

    def compact(self) -> int:
        """Give back the room of dead rows, in bounded memory; returns how many there were."""
        ...

    def known(self, ids: Sequence[str]) -> dict[str, KnownCase]:
        """The stored ones among these case ids."""
        ...

    def view(self) -> View:
        """The present state."""
        ...

    def chunks(self, view: View) -> Iterator[tuple[int, FloatArray]]:
        """(first row, `(rows, dim)`) pieces that together are the view's rows."""
        ...

    def gather(self, view: View, rows: IntArray) -> FloatArray:
        """`(len(rows), dim)` vectors."""
        ...

    def rows(self, condition: Condition | None = None, *, ids: Sequence[str] | None = None) -> IntArray:
        """Live rows, sorted, that meet a filter and/or belong to these cases."""
        ...

    def rows_of_patient(self, patient: str) -> IntArray:
        """Live rows of one patient, sorted."""
        ...

    def patient_of(self, *, sha: str = "", path: str = "") -> str:
        """Patient of the image with these pixels or this file, or ""."""
        ...

    def owners(self, view: View, rows: Sequence[int]) -> list[int] | None:
        """Number of the case that each row belongs to, in order; None when the view has become stale."""
        ...

    def facts(self, view: View, rows: Sequence[int]) -> list[RowFacts] | None:
        """What belongs to these rows, in order; None when the view has become stale."""
        ...

    def text(self, query: str, k: int, condition: Condition | None, patient: str) -> list[TextMatch]:
        """The best `k` cases by BM25 over labels, report, questions and captions, without one patient's."""
        ...

    def case(self, id: str) -> Case | None:
        """The stored record."""
        ...

    def thumbnail(self, id: str, n: int) -> bytes | None:
        """The small JPEG of an image."""
        ...

    def cases(self) -> Iterator[Case]:
        """All stored records in order of adding."""
        ...

    def keys(self, rows: IntArray) -> list[tuple[str, int, str]]:
        """(case id, image index, patient) of each row, in order; rows that are gone are left out."""
        ...

    def pixel_hashes(self, rows: Sequence[int]) -> list[str]:
        """SHA-256 of the stored values behind each row."""
        ...

    def values(self, name: str) -> dict[int, Any]:
        """Row to the known value of a label."""
        ...

    def cached_query(self, key: str) -> FloatArray | None:
        """A text's vector from an earlier search."""
        ...

    def cache_query(self, key: str, vector: npt.NDArray[np.float32]) -> None:
        """Keep a text's vector; does nothing when the library cannot be written."""
        ...

    def stats(self) -> dict[str, Any]:
        """Counts and sizes."""
        ...

    def check(self) -> CheckReport:
        """Examine everything."""
        ...

    def close(self) -> None:
        """Release files."""
        ...
