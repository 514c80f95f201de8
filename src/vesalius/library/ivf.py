"""The approximate index for large libraries: faiss inverted lists, each list scanned exactly.

The index covers the rows up to some number; what was added later is scanned exactly. Its file carries the hash of the
vectors that it covers. Rows deleted since are passed over; an erasure removes the file, and so does compacting.
"""

from __future__ import annotations

import importlib.util
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.errors import MissingError, ResourceError
from vesalius.library import exact
from vesalius.library.ivf_file import covered_hash, path, settle
from vesalius.library.local import LocalStore
from vesalius.library.results import FloatArray, IntArray
from vesalius.library.segments import sync_folder
from vesalius.library.store import IvfRecord, View

#: Rows up to which a search is exact by default.
EXACT_ROWS = 100_000
#: Recall@10 that `build` raises nprobe for, and the queries it is measured with.
RECALL, SAMPLE = 0.99, 64
#: Training vectors for a list, and rows added at a time.
PER_LIST, BLOCK = 48, 65_536


def faiss_module() -> Any:
    """The faiss package.

    Raises:
        MissingError: It is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingError(
            "the approximate index needs faiss",
            item="faiss-cpu",
            why=str(error),
            fix="run `pip install 'vesalius[faiss]'`, or search with method='exact'",
        ) from error
    return faiss


def available() -> bool:
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def build(store: LocalStore, view: View, *, seed: int = 0) -> IvfRecord:
    """Cluster the vectors (k-means, faiss), fill the lists, and choose nprobe by the recall it measures.

    Raises:
        MissingError: faiss is not installed.
        ResourceError: The rows changed meanwhile, or the disk is full.
    """
    faiss = faiss_module()
    live = np.setdiff1d(np.arange(view.rows), view.dead)
    nlist = max(1, min(int(2 * math.sqrt(len(live))), len(live) // 39 or 1))
    rng = np.random.default_rng(seed)
    dim = store.identity.dim
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.seed = 8, seed + 1
    index.cp.max_points_per_centroid = PER_LIST
    sample = np.sort(rng.choice(live, min(len(live), PER_LIST * nlist), replace=False))
    index.train(store.gather(view, sample))
    for base, vectors in store.chunks(view):
        for at in range(0, len(vectors), BLOCK):
            rows = np.arange(base + at, base + min(at + BLOCK, len(vectors)), dtype=np.int64)
            keep = rows[~np.isin(rows, view.dead)]
            index.add_with_ids(np.ascontiguousarray(vectors[keep - base]), keep)
    nprobe, recall = _choose(store, view, index, live, rng)
    with store.transaction() as connection:
        digest = covered_hash(connection, view.rows)
        (pk,) = connection.execute(
            "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'ivf'"
        ).fetchone()
    made = IvfRecord(pk, digest, view.rows, nlist, nprobe, recall)
    _write(faiss, index, path(store.folder, made))
    with store.transaction("IMMEDIATE") as connection:
        connection.execute("DELETE FROM ivf")
        connection.execute(
            "INSERT INTO ivf VALUES (?, ?, ?, ?, ?, ?, ?)",
            (pk, digest, view.rows, nlist, nprobe, recall, path(store.folder, made).stat().st_size),
        )
    settle(store.folder, made)
    return made


def _choose(store: LocalStore, view: View, index: Any, live: IntArray, rng: np.random.Generator) -> tuple[int, float]:
    """The smallest nprobe (a power of two from 8 on) whose recall@10 on sampled rows reaches `RECALL`."""
    picked = np.sort(rng.choice(live, min(SAMPLE, len(live)), replace=False))
    queries = store.gather(view, picked)
    # The row itself is always its own nearest: it is left out on both sides, so that it does not flatter the recall.
    k = min(11, len(live))
    truth, _ = exact.scan(store.chunks(view), queries, k, excluded=view.dead)
    nprobe, recall = min(8, index.nlist), 0.0
    while True:
        index.nprobe = nprobe
        _, found = index.search(queries, k)
        hits = [
            len((set(t.tolist()) & set(f.tolist())) - {p, -1}) / max(1, len(set(t.tolist()) - {p, -1}))
            for t, f, p in zip(truth, found, picked.tolist(), strict=True)
        ]
        recall = float(np.mean(hits))
        if recall >= RECALL or nprobe >= index.nlist:
            return nprobe, recall
        nprobe = min(2 * nprobe, index.nlist)


def _write(faiss: Any, index: Any, file: Path) -> None:
    part = file.with_suffix(".ivf.part")
    try:
        file.parent.mkdir(exist_ok=True)
        faiss.write_index(index, str(part))
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(file)
        sync_folder(file.parent)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise ResourceError(
            "cannot write the approximate index", item=str(file), why=str(error), fix="free some space and try again"
        ) from error


class IvfSearcher:
    """A loaded index.

    Args:
        folder: The library's folder.
        index: Which index.
    """

    def __init__(self, folder: Path, index: IvfRecord) -> None:
        self.record = index
        self.faiss = faiss_module()
        file = path(folder, index)
        try:
            # Mapped, not read: a single search touches few of the lists.
            self.index = self.faiss.read_index(str(file), self.faiss.IO_FLAG_MMAP | self.faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            raise ResourceError(
                "cannot read the approximate index",
                item=str(file),
                why=str(error).splitlines()[0],
                fix="run `vesalius index compact` to build it again, or search with method='exact'",
            ) from error

    def search(self, queries: FloatArray, k: int, excluded: IntArray) -> IntArray:
        """`(m, k)` rows, unordered, -1 where there are fewer."""
        options: dict[str, Any] = {"nprobe": self.record.nprobe}
        if len(excluded):
            inner = self.faiss.IDSelectorBatch(excluded)
            options["sel"] = self.faiss.IDSelectorNot(inner)
        params = self.faiss.SearchParametersIVF(**options)
        _, rows = self.index.search(np.ascontiguousarray(queries), k, params=params)
        found: IntArray = rows
        return found
