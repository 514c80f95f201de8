"""Speed of the library: exact search, the approximate index at a million vectors, and what adding costs.

Rows are those of `perf.timing.row`. Searches run through `Library.search`, catalogue and hits included, and through the
bare scan, so that the difference shows what the catalogue costs.
"""

from __future__ import annotations

import hashlib
import resource
import shutil
import sqlite3
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perf.timing import once, row
from vesalius.cases import Case, Image
from vesalius.job import Job
from vesalius.library import Library, catalogue, exact, ivf
from vesalius.library.local import LocalStore
from vesalius.library.rows import vector_digest
from vesalius.library.store import Identity
from vesalius.models.protocols import Embedder

DIM = 384
BLOCK = 50_000


def walks(n: int, dim: int = DIM, seed: int = 0) -> Iterator[np.ndarray]:
    """Unit vectors in blocks, along random walks of 200 steps: clusters with neighbours, unlike uniform noise."""
    rng = np.random.default_rng(seed)
    for at in range(0, n, BLOCK):
        size = min(BLOCK, n - at)
        steps = (0.25 * rng.standard_normal((-(-size // 200), 200, dim), dtype=np.float32)).cumsum(axis=1)
        steps += rng.standard_normal((len(steps), 1, dim), dtype=np.float32) * 2
        block = steps.reshape(-1, dim)[:size]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        yield block[rng.permutation(size)]


def filled(folder: Path, n: int, dim: int = DIM) -> LocalStore:
    """A library of `n` cases of one image, four cases a patient, made without images."""
    store = LocalStore(folder, Identity("synthetic", "0" * 64, "1" * 64, dim))
    number = 0
    with store.writing():
        for block in walks(n, dim):
            with store.transaction() as connection:
                segments = catalogue.segments(connection)
            last = segments[-1] if segments else None
            touched = store.files.append(last, block, (segments[-1].pk if segments else 0) + 1)
            with store.transaction("IMMEDIATE") as connection:
                catalogue.set_segments(connection, touched)
                _insert(connection, block, number)
            number += len(block)
    return store


def _insert(connection: sqlite3.Connection, block: np.ndarray, first: int) -> None:
    numbers = range(first, first + len(block))
    cases = ((n + 1, f"c{n}", f"p{n // 4}", f'{{"id": "c{n}"}}') for n in numbers)
    connection.executemany("INSERT INTO cases VALUES (?, ?, ?, '', NULL, 'd', '', '', '', ?)", cases)
    images = (
        (n + 1, n, ("CR", "CT", "MR", "US")[n % 4], vector_digest(v)) for n, v in zip(numbers, block, strict=True)
    )
    connection.executemany("INSERT INTO images VALUES (NULL, ?1, 0, ?2, ?3, '', '2d', '', '', '', '', ?4)", images)


def queries(store: LocalStore, n: int, seed: int = 1) -> np.ndarray:
    """Vectors near stored ones, but not stored."""
    view, rng = store.view(), np.random.default_rng(seed)
    picked = np.sort(rng.choice(view.rows, n, replace=False))
    found = store.gather(view, picked) + 0.02 * rng.standard_normal((n, store.identity.dim), dtype=np.float32)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


class _Cycle:
    """Calls a search with one query after the other."""

    def __init__(self, search: Callable[[np.ndarray], Any], vectors: np.ndarray) -> None:
        self.search, self.vectors, self.at = search, vectors, 0

    def __call__(self) -> Any:
        self.at = (self.at + 1) % len(self.vectors)
        return self.search(self.vectors[self.at])


def _in_folder(work: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp(prefix="vesalius-perf-"))
    try:
        return work(folder)
    finally:
        shutil.rmtree(folder)


def exact_search(sizes: tuple[int, ...] = (10_000, 100_000), repeats: int = 21) -> list[dict[str, Any]]:
    """Exact top-10: the scan and the whole search against numpy and faiss flat over the same vectors in memory."""

    def work(folder: Path) -> list[dict[str, Any]]:
        import faiss

        rows = []
        for n in sizes:
            store = filled(folder / str(n), n)
            lib, view, q = Library(store, None, exact_rows=10**9), store.view(), queries(store, 32)
            held = np.concatenate([v for _, v in store.chunks(view)])
            flat = faiss.IndexFlatIP(DIM)
            flat.add(held)

            def brute(v: np.ndarray, held: np.ndarray = held) -> Any:
                scores = held @ v
                top = np.argpartition(-scores, 10)[:10]
                return top[np.argsort(-scores[top])]

            def scan(v: np.ndarray, store: LocalStore = store, view: Any = view) -> Any:
                return exact.scan(store.chunks(view), v[None], 10)

            def whole(v: np.ndarray, lib: Library = lib) -> Any:
                return lib.search(v, k=10)

            def filtered(v: np.ndarray, lib: Library = lib) -> Any:
                return lib.search(v, k=10, where="modality = CT", exclude_patient="p7")

            def others(v: np.ndarray, lib: Library = lib) -> Any:
                return lib.search(v, k=10, exclude_patient="p7")

            def flat_search(v: np.ndarray, flat: Any = flat) -> Any:
                return flat.search(v[None], 10)

            same = all((scan(v)[0][0] == brute(v)).all() for v in q[:8])
            assert same, "the scan and numpy disagree"
            for name, ours, peer, peer_name, goal in (
                ("scan", scan, brute, "numpy", 0.95),
                ("scan", scan, flat_search, "faiss flat", 1.0),
                ("search", whole, brute, "numpy", 0.85),
                ("search", whole, flat_search, "faiss flat", 0.8),
                ("search without one patient", others, brute, "numpy over all", 0.6),
                ("filtered search", filtered, brute, "numpy without the filter", 0.6),
            ):
                rows.append(
                    row(
                        f"exact {name} {n}x{DIM} vs {peer_name}",
                        _Cycle(ours, q),
                        _Cycle(peer, q),
                        peer_name=peer_name,
                        goal=goal,
                        n=n,
                        repeats=repeats,
                    )
                )
            lib.close()
        return rows

    return _in_folder(work)


def approximate_search(n: int = 1_000_000, repeats: int = 31) -> list[dict[str, Any]]:
    """IVF at a million: recall@10 on queries that are not stored, latency against the exact scan, building, memory."""

    def work(folder: Path) -> list[dict[str, Any]]:
        store = filled(folder / "lib", n)
        lib = Library(store, None)
        seconds = once(lib.build_index)
        record = store.ivf_record()
        assert record is not None
        view, q = store.view(), queries(store, 200)
        truth, _ = exact.scan(store.chunks(view), q, 10)
        found = []
        for vector, best in zip(q, truth, strict=True):
            hits = lib.search(vector, k=10)
            assert hits.plan.method == "ivf", hits.plan
            found.append(len({h.id for h in hits} & {f"c{r}" for r in best}) / 10)
        plain = {"peer_name": "", "goal": None, "n": n, "repeats": 1}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        recall = statistics.fmean(found)
        searcher = ivf.IvfSearcher(store.folder, record)
        none = np.empty(0, np.int64)
        rows = [
            row(
                f"{name} {n}x{DIM}",
                _Cycle(ours, q),
                _Cycle(lambda v: lib.search(v, k=10, method="exact"), q),
                peer_name="exact search, same library",
                goal=20.0,
                n=n,
                repeats=repeats,
                warmup=5,
            )
            for name, ours in (
                ("ivf search", lambda v: lib.search(v, k=10)),
                ("ivf lists alone", lambda v: searcher.search(v[None], 10, none)),
            )
        ]
        values = (
            ("recall@10", recall, 1.0, recall, 0.95, len(q), "share"),
            ("build", seconds, None, None, None, 1, f"seconds (nlist {record.nlist}, nprobe {record.nprobe})"),
            ("peak memory", peak, 6.0, 6.0 / peak, 1.0, 1, "GiB"),
        )
        for name, ours_value, peer_value, ratio, goal, repeated, unit in values:
            entry = {"name": f"ivf {name} {n}x{DIM}", "ours": ours_value, "peer": peer_value, "ratio": ratio}
            rows.append({**plain, **entry, "goal": goal, "repeats": repeated, "unit": unit})
        lib.close()
        return rows

    return _in_folder(work)


class StandIn:
    """An embedder of steady cost (about a gigaflop an image), for when no model is installed."""

    name, dim = "stand-in", DIM

    class _Preprocess:
        fingerprint = hashlib.sha256(b"stand-in").hexdigest()

        def __call__(self, image: Image) -> np.ndarray:
            from PIL import Image as Pillow

            picture = Pillow.fromarray(np.asarray(image.pixels(), np.uint8)).resize((224, 224))
            return (np.asarray(picture, np.float32) / 255)[None, None]

    def __init__(self, width: int = 2048, depth: int = 24) -> None:
        rng = np.random.default_rng(0)
        self.preprocess = self._Preprocess()
        self.fingerprint = hashlib.sha256(f"stand-in {width} {depth}".encode()).hexdigest()
        self._layers = [rng.standard_normal((width, width), dtype=np.float32) / width**0.5 for _ in range(depth)]
        self._into = rng.standard_normal((224 * 224, DIM), dtype=np.float32)

    def embed_views(self, views: Any) -> np.ndarray:
        """Unit vectors of views."""
        flat = np.stack([v.reshape(-1) for v in views])
        hidden = np.tile(flat[:, :2048], (4, 1))
        for layer in self._layers:
            hidden = np.tanh(hidden @ layer)
        out = flat @ self._into + 1e-6 * hidden[: len(flat), :DIM]
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def embed(self, images: Any) -> np.ndarray:
        """Unit vectors of images."""
        return self.embed_views([self.preprocess(i) for i in images])

    def embed_text(self, texts: Any) -> np.ndarray:
        """There is no text tower."""
        raise NotImplementedError(texts)


def adding(model: Embedder | None = None, n: int = 96, side: int = 512, repeats: int = 3) -> list[dict[str, Any]]:
    """`Library.add` (read, hash, resize, thumbnail, embed, write) against the bare model on views that are ready."""
    if model is None:
        from vesalius.errors import MissingError
        from vesalius.models import load

        try:
            model = load("nano")
        except MissingError:
            model = StandIn()
    chosen = model

    def work(folder: Path) -> list[dict[str, Any]]:
        rng, cases = np.random.default_rng(0), []
        for i in range(n):
            path = folder / f"{i}.npy"
            np.save(path, rng.integers(0, 255, (side, side), dtype=np.uint8))
            cases.append(Case(f"c{i}", images=(Image(uri=str(path), modality="CR"),)))
        views = [chosen.preprocess(case.images[0]) for case in cases]
        made = iter(range(10**6))

        def bare() -> None:
            for at in range(0, n, 32):
                chosen.embed_views(views[at : at + 32])

        def add(workers: int) -> None:
            with Library.open(folder / f"lib{next(made)}", chosen) as lib:
                report = lib.add(cases, Job(workers=workers))
                assert report.added == n, report.refused[:3]

        return [
            row(
                f"add {n} images {side}px, {workers} workers, model {chosen.name}",
                lambda workers=workers: add(workers),
                bare,
                peer_name="embed_views on ready views",
                goal=0.8,
                n=n,
                repeats=repeats,
            )
            for workers in (0, 1, 2)
        ]

    return _in_folder(work)


TOPICS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "search-exact": exact_search,
    "search-ivf": approximate_search,
    "library-add": adding,
}
