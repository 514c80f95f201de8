"""The searchable collection: a thin shell over store, ingest and search."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vesalius.cases import Case
from vesalius.errors import MissingError, UsageError
from vesalius.job import Job
from vesalius.library import duplicates, ivf
from vesalius.library.ingest import Ingest
from vesalius.library.local import LocalStore
from vesalius.library.query import Query, resolve
from vesalius.library.results import AddReport, CheckReport, DuplicateGroup, Hits, IntArray, Vectors
from vesalius.library.searching import Method, Mode, Request, Searcher
from vesalius.library.store import Identity, IvfRecord
from vesalius.library.where import condition
from vesalius.models.protocols import Embedder

#: The approximate index is built again when this share of the rows is not in it.
STALE_SHARE = 0.2


class Library:
    """Cases with their vectors, words and thumbnails in one folder; made by `open`.

    Safe for one writer and many readers, in threads and processes. Results always belong to whole cases.

    Example:
        >>> with Library.open("lib/", model="nano") as lib:  # doctest: +SKIP
        ...     lib.add(cases)
        ...     hits = lib.search("left pleural effusion", k=5, where="age >= 60")
    """

    def __init__(self, store: LocalStore, model: Embedder | None, *, exact_rows: int = ivf.EXACT_ROWS) -> None:
        self.store, self._model, self.exact_rows = store, model, exact_rows
        self._searcher = Searcher(store, exact_rows)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        model: Embedder | str | None = None,
        *,
        create: bool = True,
        readonly: bool = False,
        exact_rows: int = ivf.EXACT_ROWS,
    ) -> Library:
        """Open a library, or make one.

        Args:
            path: Its folder.
            model: An embedder, or a name for `vesalius.models.load`. None: the model that made the library, loaded
                when it is first needed.
            create: Make the library if there is none (needs a model).
            readonly: Never write to the folder.
            exact_rows: Up to how many images search is exact by default.

        Raises:
            MissingError: There is no library and none is to be made.
            UsageError: The model, or its preprocessing, is not the one that made the library.
            BadInputError: The folder holds something else or a library of another version.
            ResourceError: The folder cannot be opened.
        """
        folder = Path(path)
        if isinstance(model, str):
            from vesalius.models import load

            model = load(model, can="embed")
        store = LocalStore(folder, identity_of(model) if model is not None and create else None, readonly=readonly)
        try:
            if model is not None:
                check_identity(store.identity, identity_of(model), str(folder))
        except BaseException:
            store.close()
            raise
        return cls(store, model, exact_rows=exact_rows)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the files."""
        self.store.close()

    def __len__(self) -> int:
        view = self.store.view()
        return view.rows - len(view.dead)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and bool(self.store.known([id]))

    def __repr__(self) -> str:
        return f"<Library {self.store.folder} ({len(self)} images by {self.store.identity.model})>"

    @property
    def model(self) -> Embedder:
        """The model; loaded by its stored name when none was given.

        Raises:
            MissingError: It is not in the model store.
            UsageError: The model of that name is another one now.
        """
        if self._model is None:
            from vesalius.models import load

            model = load(self.store.identity.model, can="embed")
            check_identity(self.store.identity, identity_of(model), str(self.store.folder))
            self._model = model
        return self._model

    def add(self, cases: Iterable[Case], job: Job | None = None) -> AddReport:
        """Read, embed and store cases; what is there with the same content is skipped before it is decoded.

        A stored case whose record changed is written again; its images are embedded again only if their files
        changed. A case of which some images are bad is stored with the others; those are tried again next time.

        Args:
            cases: Cases, streamed.
            job: Its `batch_size` images go through the model and are committed together; its `workers` read files in
                bounded child processes (0: in this one, for trusted files only); told of each image or case that
                cannot be used, and after each commit how many cases are on the disk.

        Raises:
            ResourceError: Another process is writing, or the disk is full; what was reported is kept.
            CancelledError: The job was cancelled; what was reported is kept.
        """
        job = job or Job()
        if job.batch_size < 1:
            raise UsageError("batch_size must be at least 1", item=str(job.batch_size))
        model = self.model
        with self.store.writing():
            report = Ingest(self.store, model, job).run(cases)
            self._refresh_index()
        return report

    def search(
        self,
        query: Query,
        k: int = 5,
        *,
        where: str | Mapping[str, Any] | None = None,
        mode: Mode = "vector",
        exclude_patient: str | None = "auto",
        include_same_patient: bool = False,
        method: Method = "auto",
        job: Job | None = None,
    ) -> Hits:
        """The `k` best cases, each shown by its best image.

        Args:
            query: Words, an image, a case (its best image counts), a file, an array `(H, W[, C])` or `(D, H, W)`, or a
                vector `(dim,)`.
            k: How many cases.
            where: Filter, as text (`modality = CT and age >= 60 and label.effusion = 1`) or a mapping; see
                `vesalius.library.where`. It is applied before the search, which is then exact.
            mode: `vector`, `text` (BM25 over labels, reports, questions, captions) or `hybrid` (both, fused by rank).
            exclude_patient: A patient to leave out; `auto`: the query's own, where it is a case or an image that is in
                the library; None: nobody.
            include_same_patient: Overrides `auto`.
            method: `auto`, `exact` or `ivf` (approximate); see `vesalius.library.searching`.
            job: Its `workers` read a query's file in a bounded child process (0: in this one, for trusted files only).

        Returns:
            A tuple of hits with a `plan` that says how they were found.

        Raises:
            UsageError: The query, filter or mode makes no sense.
            MissingError: The approximate index was demanded and is not there, or the model has no text tower.
        """
        if k < 1:
            raise UsageError("k must be at least 1", item=str(k))
        if mode not in ("vector", "text", "hybrid") or method not in ("auto", "exact", "ivf"):
            raise UsageError("no such search", item=f"mode={mode}, method={method}")
        asked = resolve(query, self.store, lambda: self.model, vectors=mode != "text", words=mode != "vector", job=job)
        patient = exclude_patient or ""
        if exclude_patient == "auto":
            patient = "" if include_same_patient else asked.patient
        return self._searcher.search(asked, Request(k, condition(where), mode, method, patient))

    def delete(self, ids: str | Iterable[str], *, erase: bool = True) -> int:
        """Remove cases.

        Args:
            ids: Case ids; those that are not there are passed over. One call for many is much faster than many calls.
            erase: Overwrite the vectors with zeros and rebuild the catalogue, so that no file holds a trace. Without it
                the bytes stay, unreachable, until `compact`.

        Returns:
            How many cases there were.

        Raises:
            ResourceError: Another process is writing; or a reader prevented erasing, which the next writer finishes.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        with self.store.writing():
            return self.store.delete(wanted, erase=erase)

    def compact(self) -> int:
        """Give back the room of deleted images, in bounded memory, safe against a kill; returns how many there were."""
        with self.store.writing():
            n = self.store.compact()
            self._refresh_index()
        return n

    def build_index(self) -> IvfRecord:
        """Build the approximate index over all images now.

        Raises:
            MissingError: faiss is not installed.
            UsageError: The library is empty.
        """
        with self.store.writing():
            if not len(self):
                raise UsageError("the library is empty", item=str(self.store.folder), fix="add cases first")
            return ivf.build(self.store, self.store.view())

    def _refresh_index(self) -> None:
        view, record = self.store.view(), self.store.ivf_record()
        late = view.rows - (0 if record is None else record.rows)
        if view.rows > self.exact_rows and late > STALE_SHARE * view.rows and ivf.available():
            ivf.build(self.store, view)

    def near_duplicates(self, threshold: float = 0.98) -> tuple[DuplicateGroup, ...]:
        """Groups of images with cosine at or above `threshold`, joined transitively (all pairs: 100k take minutes)."""
        view = self.store.view()
        found = []
        for rows, lowest in duplicates.groups(duplicates.similar_pairs(self.store, view, threshold)):
            facts = self.store.facts(view, rows)
            if facts is None:
                return self.near_duplicates(threshold)
            pixels = self.store.pixel_hashes(rows)
            items = tuple((f.id, f.n) for f in facts)
            patients = tuple(dict.fromkeys(f.patient for f in facts))
            found.append(DuplicateGroup(items, min(lowest, 1.0), len(set(pixels)) == 1, patients))
        return tuple(found)

    def labelled(self, name: str) -> Vectors:
        """Vectors and values of a label, one row an image, where the value is known (uncertain, -1, included)."""
        values = self.store.values(name)
        rows = np.array(sorted(values), np.int64)
        return self._vectors(rows, tuple(values[row] for row in rows.tolist()))

    def vectors(self, ids: Sequence[str] | None = None) -> Vectors:
        """Vectors of these cases in their order (all in order of adding when None), one row an image.

        Raises:
            MissingError: A case is not in the library.
        """
        found = self._vectors(self.store.rows(ids=ids))
        if ids is None:
            return found
        place = {id: n for n, id in enumerate(dict.fromkeys(ids))}
        lost = set(place) - set(found.ids)
        if lost:
            raise MissingError("no such case in the library", item=min(lost))
        order = sorted(range(len(found)), key=lambda i: (place[found.ids[i]], found.images[i]))
        return Vectors(
            tuple(found.ids[i] for i in order),
            found.images[order],
            tuple(found.patients[i] for i in order),
            found.vectors[order],
        )

    def _vectors(self, rows: IntArray, values: tuple[Any, ...] = ()) -> Vectors:
        view = self.store.view()
        keys = self.store.keys(rows)
        if len(keys) != len(rows) or self.store.view().generation != view.generation:
            raise MissingError("cases were deleted meanwhile", fix="try again")
        images = np.array([n for _, n, _ in keys], np.int64)
        ids, patients = tuple(id for id, _, _ in keys), tuple(patient for _, _, patient in keys)
        return Vectors(ids, images, patients, self.store.gather(view, rows), values)

    def get(self, id: str) -> Case:
        """The stored record (uris absolute; pixels that were only in memory are not kept).

        Raises:
            MissingError: It is not in the library.
        """
        found = self.store.case(id)
        if found is None:
            raise MissingError("no such case in the library", item=id)
        return found

    def cases(self) -> Iterator[Case]:
        """All stored records in order of adding."""
        return self.store.cases()

    def thumbnail(self, id: str, image: int = 0) -> bytes | None:
        """A JPEG of at most 128 pixels a side, None where there is none."""
        return self.store.thumbnail(id, image)

    def stats(self) -> dict[str, Any]:
        """Counts, sizes, labels, the model's identity and the approximate index."""
        return self.store.stats()

    def check(self) -> CheckReport:
        """Examine database, files, digests and references; changes nothing."""
        return self.store.check()


def identity_of(model: Embedder) -> Identity:
    """What the library remembers of a model."""
    return Identity(model.name, model.fingerprint, model.preprocess.fingerprint, model.dim)


def check_identity(stored: Identity, given: Identity, item: str) -> None:
    """Refuse a model whose vectors do not compare with the stored ones.

    Raises:
        UsageError: Model, preprocessing or dimension differ.
    """
    if (stored.fingerprint, stored.preprocess, stored.dim) == (given.fingerprint, given.preprocess, given.dim):
        return
    if stored.fingerprint != given.fingerprint and stored.model != given.model:
        what = "another model"
    elif stored.preprocess != given.preprocess:
        what = "another preprocessing"
    else:
        what = "another version of the model" if stored.fingerprint != given.fingerprint else "another dimension"

    def named(i: Identity) -> str:
        return f"`{i.model}` ({i.fingerprint[:12]}, preprocessing {i.preprocess[:12]}, {i.dim} numbers)"

    raise UsageError(
        f"the library was made by {what}",
        item=item,
        why=f"it was made by {named(stored)}, not by {named(given)}",
        fix=f"open it with the model that made it (`{stored.model}`), or index the cases into another folder",
    )
