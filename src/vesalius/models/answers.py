"""What a classifier says of cases: a head or sentences over an embedder's vectors, or classes of its own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.errors import VesaliusError
from vesalius.io.decode import decoded
from vesalius.job import Job
from vesalius.models.case_vectors import embed_cases
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import CaseClassifier, Classifier, Embedder

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one case.

    Args:
        case: The case.
        row: `(classes,)` probabilities, or `(1,)` a number.
        vector: `(dim,)` unit vector; empty where the classifier has none.
        view: Gives the first image as `(3, H, W)`, for a contact sheet.
    """

    case: Case
    row: Floats
    vector: npt.NDArray[np.float32]
    view: Callable[[], npt.NDArray[Any]]


def answers_by_vectors(
    cases: Iterable[Case], model: Embedder, predict: Callable[[npt.ArrayLike], Floats], job: Job
) -> Iterator[Answer]:
    """Every usable case, by what stands on an embedder's vectors: `predict` gives rows from unit vectors."""
    for item in embed_cases(cases, model, job):
        yield Answer(item.case, predict(item.vector[None])[0], item.vector, functools.partial(np.asarray, item.view))


def answers_by_cases(cases: Iterable[Case], model: Classifier | CaseClassifier, job: Job) -> Iterator[Answer]:
    """Every usable case, by a classifier of its own: whole cases where it reads them, else first images."""

    def predict(some: list[Case]) -> Floats:
        if isinstance(model, CaseClassifier):
            return np.asarray(model.predict_cases(some), np.float64)
        return np.asarray(model.predict_proba([c.images[0] for c in some]), np.float64)

    none = np.zeros(0, np.float32)
    rest = decoded(cases, job)
    while part := list(itertools.islice(rest, job.batch_size)):
        for case, row in _each(part, predict, job):
            yield Answer(case, row, none, functools.partial(_view, case))


def _each(cases: list[Case], predict: Callable[[list[Case]], Floats], job: Job) -> Iterator[tuple[Case, Floats]]:
    """Rows of a batch; where it fails, of each case alone, so that the bad one is named."""
    try:
        rows = predict(cases)
    except VesaliusError as error:
        if len(cases) == 1:
            job.refuse(cases[0].id, error)
            return
        for case in cases:
            yield from _each([case], predict, job)
        return
    yield from zip(cases, rows, strict=True)


def _view(case: Case) -> npt.NDArray[Any]:
    """`(3, 224, 224)` of the first image; black without one."""
    return ViewPreprocess(224, 224)(case.images[0])[0] if case.images else np.zeros((3, 224, 224), np.uint8)
