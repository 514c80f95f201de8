"""What a user may search by, as vectors and words: text, an image, a case, a file, an array, a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.errors import UsageError
from vesalius.io.decode import case_at, decode_one
from vesalius.job import Job
from vesalius.library.results import FloatArray
from vesalius.library.store import Store
from vesalius.models.protocols import Embedder, Preprocess

Query = str | Image | Case | Path | npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query, resolved.

    Args:
        vectors: `(m, dim)` unit vectors, one an image of the query; a row's score is its best over them.
        words: For full-text search.
        patient: The query's own patient, or "".
        similarity: What the vectors' cosine means, in words.
    """

    vectors: FloatArray | None
    words: str
    patient: str
    similarity: str


def resolve(
    query: Query,
    store: Store,
    model: Callable[[], Embedder],
    *,
    vectors: bool,
    words: bool,
    job: Job | None = None,
) -> Asked:
    """Turn a query into vectors and/or words; files are read as `add` reads them, in a bounded child process.

    Raises:
        UsageError: It cannot be searched by in this way.
    """
    if isinstance(query, str):
        if not query.strip():
            raise UsageError("the query is empty", fix="give some words, an image or a case")
        return Asked(_text_vector(query, store, model) if vectors else None, query, "", "text-image similarity")
    if isinstance(query, Case):
        text = "" if query.report is None else query.report.text
        if words and not text:
            raise UsageError("the case has no report to search by", item=query.id, fix="use mode='vector'")
        if vectors and not query.images:
            raise UsageError("the case has no image to search by", item=query.id, fix="use mode='text'")
        known = store.case(query.id)
        group = query.patient or ("" if known is None else known.group) or query.group
        found = _images(query.images, model(), job) if vectors else None
        return Asked(found, text, group, "image similarity")
    if words:
        raise UsageError("full-text search needs words", item=type(query).__name__, fix="use mode='vector'")
    if isinstance(query, np.ndarray) and query.ndim == 1:
        return Asked(_given(query, store), "", "", "vector similarity")
    if not isinstance(query, Image | Path | np.ndarray):
        raise UsageError(
            "cannot search by this", item=type(query).__name__, fix="give text, an image, a case or a path"
        )
    images = case_at(query, job).images
    looked = [_look(image, model(), job) for image in images]
    patient = ""
    for image, (_, sha) in zip(images, looked, strict=True):
        path = image.path
        patient = patient or store.patient_of(sha=sha, path="" if path is None else str(path.absolute()))
    found = np.asarray(model().embed_views([views for views, _ in looked]), np.float32)
    return Asked(found, "", patient, "image similarity")


def _given(vector: npt.NDArray[Any], store: Store) -> FloatArray:
    dim = store.identity.dim
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if len(vector) != dim or not np.isfinite(norm) or norm == 0:
        raise UsageError("not a vector of this library", why=f"length {len(vector)} and norm {norm}, dim is {dim}")
    return (vector.astype(np.float64) / norm).astype(np.float32)[None]


@dataclass(frozen=True)
class _Look:
    """Views and content hash of an image: what a query by image needs of its pixels."""

    func: Preprocess

    def __call__(self, image: Image) -> tuple[npt.NDArray[Any], str]:
        return self.func(image), image.content_hash()


def _look(image: Image, model: Embedder, job: Job | None) -> tuple[npt.NDArray[Any], str]:
    return decode_one(image, _Look(model.preprocess), job)


def _images(images: tuple[Image, ...], model: Embedder, job: Job | None) -> FloatArray:
    # Through the same preprocessing and call as adding does, so that an image finds itself at similarity 1.
    return np.asarray(model.embed_views([_look(image, model, job)[0] for image in images]), np.float32)


def _text_vector(text: str, store: Store, model: Callable[[], Embedder]) -> FloatArray:
    # The cache holds a hash and not the words: a query may name a patient.
    key = hashlib.sha256(f"{store.identity.fingerprint}\0{text}".encode()).hexdigest()
    found = store.cached_query(key)
    if found is None or len(found) != store.identity.dim:
        found = np.asarray(model().embed_text([text])[0], np.float32)
        store.cache_query(key, found)
    return found[None]
