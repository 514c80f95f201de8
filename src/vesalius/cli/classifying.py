"""What `classify` asks: a head or sentences over an embedder's vectors, or a classifier that has its own classes."""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vesalius.cli.common import Run
from vesalius.errors import UsageError, VesaliusError

if TYPE_CHECKING:
    from vesalius.cases import Case, CaseSet
    from vesalius.metrics.classification.operating import OperatingPoint
    from vesalius.models.heads import Head


@dataclass(frozen=True, eq=False)
class Answer:
    """One case's row of probabilities (or its number), its vector where there is one, and its `(3, H, W)` view."""

    case: Case
    row: npt.NDArray[np.float64]
    vector: npt.NDArray[np.float32]
    view: Callable[[], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Method:
    """What classifies: its classes, what it answers, and what belongs to a head."""

    classes: tuple[str, ...]
    answers: Callable[[CaseSet], Iterator[Answer]]
    head: Head | None = None
    point: OperatingPoint | None = None
    column: int = 0


def method(options: argparse.Namespace, run: Run) -> Method:
    """The head, the labels' sentences, or the model's own classes."""
    from vesalius.models import load
    from vesalius.models.heads import Head
    from vesalius.models.zeroshot import zero_shot

    if options.head is not None:
        head = Head.load(options.head)
        made = _by_vectors(head.model, head.classes, lambda _: head.predict_vectors, options, run, head)
        if options.operating_point and options.operating_point not in head.points:
            known = ", ".join(head.points) or "none"
            raise UsageError("head has no such operating point", item=options.operating_point, why=f"it has: {known}")
        name = options.operating_point or next(iter(head.points), None)
        if name is None:
            return made
        # The point's name ends with the class it is about, where that was said.
        column = head.column(name.split(" ", 1)[1] if " " in name else None)
        return replace(made, point=head.points[name], column=column)
    if options.labels is not None:
        labels = tuple(label.strip() for label in options.labels.split(",") if label.strip())

        def shot(model: Any) -> Callable[[npt.ArrayLike], npt.NDArray[np.float64]]:
            return zero_shot(model, labels, modality=options.modality, body_part=options.body_part).predict_vectors

        return _by_vectors(options.model, labels, shot, options, run, None)
    model = load(options.model, device=options.device, online=run.online)
    if not hasattr(model, "predict_proba"):
        raise UsageError(
            "classify with what?",
            item=options.model,
            why="the model embeds and has no classes of its own",
            fix="give --labels or --head, or a --model that is a classifier",
        )
    run.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    return Method(tuple(model.classes), lambda cases: _by_cases(model, cases, options, run))


def _by_vectors(
    name: str,
    classes: tuple[str, ...],
    predictor: Callable[[Any], Callable[[npt.ArrayLike], npt.NDArray[np.float64]]],
    options: argparse.Namespace,
    run: Run,
    head: Head | None,
) -> Method:
    """What stands on an embedder's vectors."""
    from vesalius.cli.embedding import embedded
    from vesalius.models import load

    model = load(name, device=options.device, online=run.online, can="embed")
    run.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    if head is not None:
        head.require(model)
    predict = predictor(model)

    def answers(cases: CaseSet) -> Iterator[Answer]:
        for item in embedded(cases, model, run, workers=options.workers, batch_size=options.batch_size):
            yield Answer(
                item.case, predict(item.vector[None])[0], item.vector, functools.partial(np.asarray, item.view)
            )

    return Method(classes, answers, head)


def _by_cases(model: Any, cases: CaseSet, options: argparse.Namespace, run: Run) -> Iterator[Answer]:
    """A classifier of its own: whole cases where it reads them, else first images; decoded in bounded children."""
    from vesalius.io import decoded
    from vesalius.models.protocols import CaseClassifier

    def predict(some: list[Case]) -> npt.NDArray[np.float64]:
        out = (
            model.predict_cases(some)
            if isinstance(model, CaseClassifier)
            else model.predict_proba([c.images[0] for c in some])
        )
        return np.asarray(out, np.float64)

    none = np.zeros(0, np.float32)
    read = cases if options.workers == 0 else decoded(cases, workers=options.workers, on_refused=run.refuse)
    rest = iter(read)
    while part := list(itertools.islice(rest, options.batch_size)):
        for case, row in _each(part, predict, run):
            yield Answer(case, row, none, functools.partial(_view, case))


def _each(
    cases: list[Case], predict: Callable[[list[Case]], npt.NDArray[np.float64]], run: Run
) -> Iterator[tuple[Case, npt.NDArray[np.float64]]]:
    """Rows of a batch; where it fails, of each case alone, so that the bad one is named."""
    try:
        rows = predict(cases)
    except VesaliusError as error:
        if len(cases) == 1:
            run.refuse(cases[0].id, error)
            return
        for case in cases:
            yield from _each([case], predict, run)
        return
    yield from zip(cases, rows, strict=True)


def _view(case: Case) -> npt.NDArray[Any]:
    """`(3, 224, 224)` of the first image, for a contact sheet; black without one."""
    from vesalius.models.preprocess import ViewPreprocess

    return ViewPreprocess(224, 224)(case.images[0])[0] if case.images else np.zeros((3, 224, 224), np.uint8)
