"""From a resolved query to hits: exact or approximate vectors, full text, or both by reciprocal rank fusion.

Rule for the method of a vector search (`method="auto"`), which `Plan` reports:

1. With a filter: exact over the rows that meet it, whatever their number.
2. Up to `EXACT_ROWS` rows: exact over all.
3. Above: the approximate index over the rows it covers plus an exact scan of the later ones, if there is an index and
   faiss is installed; else exact over all, with a warning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError
from vesalius.library import exact, ivf
from vesalius.library.local import LocalStore
from vesalius.library.query import Asked
from vesalius.library.results import FloatArray, Hit, Hits, IntArray, Plan
from vesalius.library.store import RowFacts, StaleError, TextMatch, View
from vesalius.library.where import Condition

Mode = Literal["vector", "text", "hybrid"]
Method = Literal["auto", "exact", "ivf"]

#: Constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).
RRF = 60
#: Candidates of each side that hybrid search fuses, at least, and for each hit asked for.
DEPTH, DEPTH_PER_HIT = 50, 5
#: How often a search starts again because rows were deleted or compacted under it.
RETRIES = 20


@dataclass(frozen=True)
class Request:
    """What is asked of a search, apart from the query."""

    k: int
    condition: Condition | None
    mode: Mode
    method: Method
    patient: str


@dataclass(frozen=True)
class _Found:
    """A case as one side of the search ranked it."""

    facts: RowFacts
    score: float
    why: str
    snippet: str = ""


class Searcher:
    """Searches one store; keeps the approximate index open between calls."""

    def __init__(self, store: LocalStore, exact_rows: int) -> None:
        self.store, self.exact_rows = store, exact_rows
        self._ivf: ivf.IvfSearcher | None = None

    def search(self, asked: Asked, request: Request) -> Hits:
        """Find, starting again when the library was compacted or cases were deleted meanwhile.

        Raises:
            ResourceError: That happened too often.
            MissingError: The approximate index was demanded and cannot be used.
        """
        for _ in range(RETRIES):
            view = self.store.view()
            try:
                found = self._once(asked, request, view)
            except (StaleError, BadInputError, FileNotFoundError):
                if self.store.view().generation == view.generation:
                    raise
                continue
            if found is not None:
                return found
        raise ResourceError("the library changes too fast to be searched", fix="try again later")

    def _once(self, asked: Asked, request: Request, view: View) -> Hits | None:
        plan = Plan(request.mode, rows=view.rows - len(view.dead), excluded_patient=request.patient)
        by_vector: list[_Found] = []
        by_text: list[_Found] = []
        fused = request.mode == "hybrid"
        k = max(DEPTH, DEPTH_PER_HIT * request.k) if fused else request.k
        if request.mode != "text":
            result = self._vector(asked, dataclasses.replace(request, k=k), view, plan)
            if result is None:
                return None
            by_vector, plan = result
        if request.mode != "vector":
            matches = self.store.text(asked.words, k, request.condition, request.patient)
            facts = self.store.facts(view, [m.row for m in matches])
            if facts is None or len(facts) != len(matches):
                return None
            by_text = [_text_found(m, f) for m, f in zip(matches, facts, strict=True)]
            plan = dataclasses.replace(plan, method=f"{plan.method}+text" if fused else "text")
        ranked = _fuse(by_vector, by_text) if fused else [(f, f.score, (f.why,)) for f in by_vector or by_text]
        hits = tuple(_hit(n, *entry) for n, entry in enumerate(ranked[: request.k], start=1))
        return Hits(hits, plan)

    def _vector(self, asked: Asked, request: Request, view: View, plan: Plan) -> tuple[list[_Found], Plan] | None:
        queries = asked.vectors
        if queries is None:
            raise UsageError("this query has no vector", fix="use mode='text'")
        excluded = view.dead
        if request.patient:
            own = self.store.rows_of_patient(request.patient)
            excluded = np.union1d(excluded, own) if len(excluded) else own
        allowed = None if request.condition is None else self.store.rows(request.condition)
        if allowed is not None:
            allowed = allowed[: np.searchsorted(allowed, view.rows)]
            plan = dataclasses.replace(plan, candidates=len(allowed) - exact.shared(allowed, excluded))
        find, plan = self._method(request, view, plan, queries, allowed, excluded)
        width = min(2 * request.k + 8, max(view.rows, 1))
        while True:
            # A case of several images may take several rows: widen until there are k cases or no more rows.
            rows, scores = find(width)
            owners = self.store.owners(view, rows.tolist())
            if owners is None or len(owners) != len(rows):
                return None
            best: dict[int, int] = {}
            for place, owner in enumerate(owners):
                best.setdefault(owner, place)
            if len(best) >= request.k or len(rows) < width:
                break
            width *= 2
        places = list(best.values())[: request.k]
        facts = self.store.facts(view, rows[places].tolist())
        if facts is None or len(facts) != len(places):
            return None
        shown = zip(facts, scores[places].tolist(), strict=True)
        return [_Found(fact, score, f"{asked.similarity} {score:.3f}") for fact, score in shown], plan

    def _method(
        self,
        request: Request,
        view: View,
        plan: Plan,
        queries: FloatArray,
        allowed: IntArray | None,
        excluded: IntArray,
    ) -> tuple[Callable[[int], tuple[IntArray, FloatArray]], Plan]:
        def exactly(k: int) -> tuple[IntArray, FloatArray]:
            found = exact.scan(self.store.chunks(view), queries, k, allowed=allowed, excluded=excluded)
            return _joined(*found, k)

        forced = request.method == "ivf"
        if request.method == "exact" or (not forced and (allowed is not None or view.rows <= self.exact_rows)):
            return exactly, dataclasses.replace(plan, method="exact")
        if forced and allowed is not None:
            raise UsageError("a filtered search is always exact", fix="leave out `where` or method='ivf'")
        record = self.store.ivf_record()
        try:
            if record is None:
                raise MissingError(
                    "the library has no approximate index", fix="build it with Library.build_index() or `index compact`"
                )
            if self._ivf is None or self._ivf.record != record:
                self._ivf = ivf.IvfSearcher(self.store.folder, record)
            index = self._ivf
        except (MissingError, ResourceError) as error:
            if forced:
                raise
            why = f"searched exactly, which is slower above {self.exact_rows} images: {error}"
            return exactly, dataclasses.replace(plan, method="exact", warnings=(*plan.warnings, why))

        def approximately(k: int) -> tuple[IntArray, FloatArray]:
            near = np.unique(index.search(queries, k, excluded[excluded < record.rows]))
            near = near[near >= 0]
            late, _ = exact.scan(self.store.chunks(view), queries, k, excluded=excluded, start=record.rows)
            rows = np.unique(np.concatenate([near, late[late >= 0]]))
            # Scored from the stored vectors, so that both parts compare and a score means the same with either method.
            scores = (queries @ self.store.gather(view, rows).T).max(axis=0)
            order = np.lexsort((rows, -scores))[:k]
            return rows[order], scores[order]

        tail = view.rows - record.rows
        return approximately, dataclasses.replace(
            plan, method="ivf", nprobe=record.nprobe, recall=record.recall, tail=tail
        )


def _joined(rows: IntArray, scores: FloatArray, k: int) -> tuple[IntArray, FloatArray]:
    """The best `k` rows over several queries: a row counts by the query that it is nearest to."""
    if len(rows) == 1:
        found = np.searchsorted(-scores[0], np.inf)
        return rows[0, :found], scores[0, :found]
    best: dict[int, float] = {}
    for row, score in zip(rows.ravel().tolist(), scores.ravel().tolist(), strict=True):
        if row >= 0:
            best[row] = max(best.get(row, -np.inf), score)
    order = sorted(best, key=lambda row: (-best[row], row))[:k]
    return np.array(order, np.int64), np.array([best[row] for row in order], np.float32)


def _text_found(match: TextMatch, facts: RowFacts) -> _Found:
    return _Found(facts, match.score, f"text matches: {', '.join(match.terms)}", match.snippet)


def _fuse(by_vector: list[_Found], by_text: list[_Found]) -> list[tuple[_Found, float, tuple[str, ...]]]:
    """Reciprocal rank fusion: each list gives 1 / (60 + rank); a case in both is shown by its best image."""
    score: dict[int, float] = {}
    shown: dict[int, _Found] = {}
    why: dict[int, tuple[str, ...]] = {}
    for side in (by_vector, by_text):
        for rank, found in enumerate(side, start=1):
            pk = found.facts.case_pk
            score[pk] = score.get(pk, 0.0) + 1 / (RRF + rank)
            first = shown.setdefault(pk, found)
            shown[pk] = dataclasses.replace(first, snippet=first.snippet or found.snippet)
            why[pk] = (*why.get(pk, ()), f"{found.why} (rank {rank})")
    order = sorted(score, key=lambda pk: (-score[pk], pk))
    return [(shown[pk], score[pk], why[pk]) for pk in order]


def _hit(rank: int, found: _Found, score: float, why: tuple[str, ...]) -> Hit:
    f = found.facts
    caption = found.snippet or f.caption
    return Hit(rank, score, f.id, f.n, f.patient, f.modality, f.labels, f.attributes, caption, f.path, why)
