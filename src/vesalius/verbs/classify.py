"""`classify`: probabilities, decisions, evidence, and figures where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.arguments import Picture
from vesalius.verbs.frame.files import write_csv, write_json
from vesalius.verbs.frame.results import Figures, named
from vesalius.verbs.frame.shared import FromCases, WithModel

if TYPE_CHECKING:
    from vesalius.cases import Case, CaseSet
    from vesalius.metrics.classification.operating import OperatingPoint
    from vesalius.models.answers import Answer
    from vesalius.models.heads import Head

#: Pictures on a contact sheet.
SHEET = 36


@dataclass(frozen=True)
class Classify(FromCases, WithModel):
    """What to classify, and by what."""

    labels: tuple[str, ...] = arg(
        "class names: classify with no labelled cases (default: the classes of --model)", (), separator=",",
        metavar="A,B",
    )  # fmt: skip
    head: Picture | None = arg("folder of a head made by `vesalius fit`", None, metavar="DIR")
    modality: str | None = arg("DICOM code of the images, sharpens the prompts of --labels", None, metavar="CODE")
    body_part: str | None = arg("body part, sharpens the prompts of --labels", None, metavar="NAME")
    operating_point: str | None = arg("stored point of --head (default: the first one)", None, metavar="NAME")
    evidence: int = arg("show so many nearest labelled cases (with --head)", 0, metavar="K", low=0)
    target: str | None = arg(
        "label or attribute that holds the truth: adds figures with intervals", None, metavar="NAME"
    )
    plot: bool = arg("write a contact sheet into --out", False)


@dataclass(frozen=True)
class Near:
    """A labelled case like the one asked about."""

    id: str
    value: str | int | float
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return vars(self).copy()


@dataclass(frozen=True)
class ClassifiedCase(Result):
    """What is said of one case, and the file it belongs to."""

    id: str
    file: str
    probabilities: Mapping[str, float] | None = None
    class_: str | None = None
    value: float | None = None
    positive: bool | None = None
    evidence: tuple[Near, ...] | None = None

    def lines(self) -> Iterator[str]:
        """The likeliest classes, the decision, the evidence."""
        if self.probabilities is None:
            yield f"{named(self)}  {self.value:.4g}"
        else:
            top = sorted(self.probabilities.items(), key=lambda kv: -kv[1])[:3]
            call = "" if self.positive is None else ("  POSITIVE" if self.positive else "  negative")
            yield f"{named(self)}  " + "  ".join(f"{c} {p:.3f}" for c, p in top) + call
        for near in self.evidence or ():
            yield f"      like {near.id} ({near.value}), cosine {near.similarity:.3f}"


@dataclass(frozen=True)
class Classified(Result):
    """What is said of every case."""

    classes: tuple[str, ...]
    cases: tuple[ClassifiedCase, ...]
    figures: Figures | None = None

    def lines(self) -> Iterator[str]:
        """Case by case, then what it is worth."""
        for case in self.cases:
            yield from case.lines()
        if self.figures is not None:
            yield from self.figures.lines()


@verb("classify", "ask", uses=("device", "workers", "batch_size", "seed", "online"), reads_only=True, long=True)
def classify(args: Classify, job: Job) -> Classified:
    """Classify images with no labels, or with a fitted head."""
    if args.labels and args.head is not None:
        raise UsageError("classify with which?", fix="give one of --labels and --head, or neither")
    if args.head is None and (args.operating_point or args.evidence):
        raise UsageError("--operating-point and --evidence belong to a head", fix="give --head DIR")
    if args.plot and args.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    from vesalius.cases.targets import target_value
    from vesalius.sources.opening import open_cases

    how = _method(args, job)
    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    said: list[ClassifiedCase] = []
    rows: list[Any] = []
    known: list[Case] = []
    shown: list[tuple[Any, ClassifiedCase]] = []
    for answer in job.progress(how.answers(cases), what="classifying"):
        said.append(_said(answer, how, args.evidence))
        if args.target:
            rows.append(answer.row)
            known.append(answer.case)
        if args.plot and len(shown) < SHEET:
            shown.append((answer.view(), said[-1]))
    values = [target_value(case, args.target or "") for case in known]
    figures = _figures(args, how, rows, known, values, job) if args.target else None
    if args.out is not None:
        _write(args.out, said, how.classes)
        if shown:
            _sheet(args.out / "contact-sheet.png", shown)
    return Classified(how.classes, tuple(said), figures)


@dataclass(frozen=True, eq=False)
class _Method:
    """What classifies: its classes, what it answers, the model behind it, and what belongs to a head."""

    classes: tuple[str, ...]
    answers: Callable[[CaseSet], Iterator[Answer]]
    model: Any
    head: Head | None = None
    point: OperatingPoint | None = None
    column: int = 0


def _method(args: Classify, job: Job) -> _Method:
    """The head, the labels' sentences, or the model's own classes."""
    from vesalius.models import load
    from vesalius.models.answers import answers_by_cases, answers_by_vectors
    from vesalius.models.heads import Head
    from vesalius.models.zeroshot import zero_shot

    head = Head.load(args.head) if isinstance(args.head, Path) else args.head
    name = args.model if head is None else head.model
    can: Any = "embed" if head is not None or args.labels else None
    model = load(name, device=job.device, online=job.online, can=can) if isinstance(name, str) else name
    job.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    if head is not None:
        head.require(model)
        point, column = _point(head, args.operating_point)
        predict = head.predict_vectors
        return _Method(
            head.classes, lambda cases: answers_by_vectors(cases, model, predict, job), model, head, point, column
        )
    if args.labels:
        shot = zero_shot(model, args.labels, modality=args.modality, body_part=args.body_part)
        return _Method(args.labels, lambda cases: answers_by_vectors(cases, model, shot.predict_vectors, job), model)
    if not hasattr(model, "predict_proba"):
        raise UsageError(
            "classify with what?",
            item=str(name),
            why="the model embeds and has no classes of its own",
            fix="give --labels or --head, or a --model that is a classifier",
        )
    return _Method(tuple(model.classes), lambda cases: answers_by_cases(cases, model, job), model)


def _point(head: Head, asked: str | None) -> tuple[OperatingPoint | None, int]:
    """The stored point asked for (or the first), and the column it is about."""
    if asked and asked not in head.points:
        known = ", ".join(head.points) or "none"
        raise UsageError("head has no such operating point", item=asked, why=f"it has: {known}")
    name = asked or next(iter(head.points), None)
    if name is None:
        return None, 0
    return head.points[name], head.column_of_point(name)


def _said(answer: Answer, how: _Method, evidence: int) -> ClassifiedCase:
    head, row = how.head, answer.row
    facts: dict[str, Any] = {}
    if head is not None and head.task == "regression":
        facts["value"] = float(row[0])
    else:
        facts["probabilities"] = {c: float(p) for c, p in zip(how.classes, row, strict=True)}
        facts["class_"] = how.classes[int(row.argmax())]
    if how.point is not None:
        facts["positive"] = bool(how.point.apply(row[how.column]))
    if head is not None and evidence:
        # The group, not the patient's number: without one a case would be its own evidence.
        near = head.evidence(answer.vector, evidence, exclude_group=answer.case.group)
        facts["evidence"] = tuple(Near(e.id, e.value, e.similarity) for e in near)
    return ClassifiedCase(answer.case.id, answer.case.file, **facts)


def _figures(args: Classify, how: _Method, rows: list[Any], cases: list[Case], values: list[Any], job: Job) -> Figures:
    """What the answers are worth where the truth is known."""
    import numpy as np

    from vesalius.metrics.truth import against_classes, against_numbers
    from vesalius.models.seen import known_patients

    groups = [c.group for c in cases]
    predicted = np.asarray(rows, np.float64).reshape(len(rows), -1)
    if how.head is not None and how.head.task == "regression":
        found = against_numbers(predicted[:, 0], values, groups, seed=job.seed)
    else:
        found = against_classes(predicted, values, how.classes, groups, target=args.target or "", seed=job.seed)
    told = [c for c, v in zip(cases, values, strict=True) if v is not None]
    known = known_patients(how.model, told, job) | set(() if how.head is None else how.head.groups)
    return Figures.of(found.evaluation, found.left_out, sum(c.group in known for c in told))


def _write(out: Path, said: list[ClassifiedCase], classes: tuple[str, ...]) -> None:
    write_csv(
        out / "predictions.csv",
        ["id", "file", "class", "positive", "value", *(f"p:{c}" for c in classes)],
        (
            [c.id, c.file, c.class_ or "", "" if c.positive is None else c.positive, "" if c.value is None else c.value]
            + [(c.probabilities or {}).get(name, "") for name in classes]
            for c in said
        ),
    )
    write_json(out / "predictions.json", [c.to_dict() for c in said])


def _sheet(file: Path, shown: list[tuple[Any, ClassifiedCase]]) -> None:
    import numpy as np

    from vesalius.render.charts import contact_sheet

    pictures = [np.clip(view.transpose(1, 2, 0), 0, 255).astype(np.uint8) for view, _ in shown]
    captions = [f"{Path(c.file).name[-24:] or c.id[-24:]}\n{c.class_ or c.value}" for _, c in shown]
    contact_sheet(pictures, captions).savefig(file)
