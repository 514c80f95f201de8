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
from vesalius.library.results import FloatArray
from vesalius.library.store import Store
from vesalius.models.protocols import Embedder

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


def resolve(query: Query, store: Store, model: Callable[[], Embedder], *, vectors: bool, words: bool) -> Asked:
    """Turn a query into vectors and/or words.

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
        found = _images(query.images, model()) if vectors else None
        return Asked(found, text, group, "image similarity")
    if words:
        raise UsageError("full-text search needs words", item=type(query).__name__, fix="use mode='vector'")
    if isinstance(query, np.ndarray) and query.ndim == 1:
        return Asked(_given(query, store), "", "", "vector similarity")
    image = _as_image(query)
    held = image.with_array(image.pixels())
    path = image.path
    patient = store.patient_of(sha=held.content_hash(), path="" if path is None else str(path.absolute()))
    return Asked(_images((held,), model()), "", patient, "image similarity")


def _as_image(query: Image | Path | npt.NDArray[Any]) -> Image:
    if isinstance(query, Image):
        return query
    if isinstance(query, np.ndarray):
        flat = query.ndim == 2 or (query.ndim == 3 and query.shape[2] in (1, 3, 4))
        return Image(array=query, kind="2d" if flat else "3d")
    if isinstance(query, Path):
        return Image(uri=str(query.absolute()))
    raise UsageError("cannot search by this", item=type(query).__name__, fix="give text, an image, a case or a path")


def _given(vector: npt.NDArray[Any], store: Store) -> FloatArray:
    dim = store.identity.dim
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if len(vector) != dim or not np.isfinite(norm) or norm == 0:
        raise UsageError("not a vector of this library", why=f"length {len(vector)} and norm {norm}, dim is {dim}")
    return (vector.astype(np.float64) / norm).astype(np.float32)[None]


def _images(images: tuple[Image, ...], model: Embedder) -> FloatArray:
    # Through the same preprocessing and call as adding does, so that an image finds itself at similarity 1.
    return np.asarray(model.embed_views([model.preprocess(image) for image in images]), np.float32)


def _text_vector(text: str, store: Store, model: Callable[[], Embedder]) -> FloatArray:
    # The cache holds a hash and not the words: a query may name a patient.
    key = hashlib.sha256(f"{store.identity.fingerprint}\0{text}".encode()).hexdigest()
    found = store.cached_query(key)
    if found is None or len(found) != store.identity.dim:
        found = np.asarray(model().embed_text([text])[0], np.float32)
        store.cache_query(key, found)
    return found[None]
