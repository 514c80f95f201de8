"""`fit`: a few-shot head with cross-validated figures and operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.errors import BadInputError, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.arguments import Cases
from vesalius.verbs.frame.results import hidden
from vesalius.verbs.frame.shared import FromCases, WithModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from vesalius.models.heads import Head
    from vesalius.models.protocols import Embedder


@dataclass(frozen=True)
class Fit(FromCases, WithModel):
    """What to learn, from which cases, and where to cut."""

    source: Cases = arg("labelled cases: a case set, a data set folder, or a library", positional=True)
    target: str = arg("label or attribute to learn (pneumonia, age, modality ...)", metavar="NAME")
    task: Literal["classification", "regression"] | None = arg("classes or a number; by the values if not said", None)
    kind: Literal["logistic", "prototype", "knn", "ridge"] | None = arg(
        "the probe; logistic or ridge if not said", None
    )
    calibration: Literal["temperature", "isotonic", "none"] = arg("how scores become probabilities", "temperature")
    balance: bool = arg("weigh classes by the inverse of their frequency", False)
    shots: int | None = arg("use at most this many cases of each class", None, metavar="N", low=1)
    folds: int = arg("patient-grouped folds", 5, metavar="N", low=2)
    positive: str | None = arg(
        "which class counts as positive (needed for three classes or more)", None, metavar="CLASS"
    )
    sensitivity: float | None = arg("operating point with at least this sensitivity", None, low=0, high=1)
    specificity: float | None = arg("operating point with at least this specificity", None, low=0, high=1)
    cost: float | None = arg("operating point of least cost; cost of a miss to a false alarm", None, low=0)
    prevalence: float | None = arg("prevalence for PPV and NPV (default: that of the cases)", None, low=0, high=1)
    count_seen: bool = arg("count cases that --model itself was trained on in the figures too", False)
    plot: bool = arg("write roc.png, precision-recall.png and calibration.png into --out", False)


@dataclass(frozen=True)
class Fitted(Result):
    """A head, without the cases that it keeps as evidence."""

    target: str
    task: str
    classes: tuple[str, ...]
    model: str
    fingerprint: str
    kind: str
    calibrator: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    points: Mapping[str, Any]
    settings: Mapping[str, Any]
    files: tuple[str, ...] = ()
    head: Head = hidden(default=None)

    def lines(self) -> Iterator[str]:
        """Figures with intervals, operating points, what was written."""
        head = self.head
        evaluation = head.evaluation
        yield f"{head.target}: {head.kind} head on {head.model}, {evaluation.n} cases of {evaluation.patients} patients"
        if evaluation.counts:
            yield "  " + ", ".join(f"{name}: {n}" for name, n in evaluation.counts.items())
        yield f"held out by patient ({head.settings['folds']} folds):"
        for measure in evaluation.measures:
            yield f"  {measure}"
        seen = head.settings.get("seen")
        if seen and seen["cases"]:
            fate = "they are left out of the figures" if seen["left_out"] else "the figures say little of new patients"
            yield (
                f"  TRAINED ON: {head.model} itself learned from {seen['cases']} of {seen['of']} cases (or from their "
                f"patients): {fate}"
            )
        for point in head.points.values():
            yield f"operating point ({point.rule}): score >= {point.threshold:.6g}"
            yield f"  sensitivity {point.sensitivity:.3f}"
            yield f"  specificity {point.specificity:.3f}"
            for label, worth in (("PPV", point.ppv), ("NPV", point.npv)):
                if worth is not None:
                    yield f"  {label} {worth:.3f} at prevalence {point.prevalence:.3f}"
        for file in self.files:
            yield f"written: {file}"


@verb(
    "fit", "learn", uses=("device", "workers", "batch_size", "seed", "online"), reads_only=True, long=True,
    gives=("head", "vesalius.models.heads:Head"),
)  # fmt: skip
def fit(args: Fit, job: Job) -> Fitted:
    """Fit a few-shot head and choose its operating point."""
    from vesalius.models import load
    from vesalius.models.fitting import fit_vectors
    from vesalius.models.probes import draw_shots

    if args.plot and args.out is None:
        raise UsageError("--plot needs a folder", fix="give --out DIR")
    model = args.model
    if isinstance(model, str):
        model = load(model, device=job.device, online=job.online, can="embed")
    stored = isinstance(args.source, Path) and (args.source / "library.sqlite").is_file()
    rows = _from_library(args, model, job) if stored else _from_cases(args, model, job)
    if not rows.ids:
        raise BadInputError(
            "no case has a usable value of the target",
            item=args.target,
            fix="see the labels with `vesalius data stats`",
        )
    if args.shots:
        rows = rows.pick(draw_shots(rows.values, args.shots, job.seed))
    head = fit_vectors(
        rows.vectors,
        rows.values,
        ids=rows.ids,
        groups=rows.groups,
        target=args.target,
        model=model.name,
        fingerprint=model.fingerprint,
        task=args.task,
        kind=args.kind,
        calibration=args.calibration,
        balance=args.balance,
        folds=args.folds,
        seed=job.seed,
        seen=rows.seen if any(rows.seen) else None,
        count_seen=args.count_seen,
    )
    job.facts["model"] = {"name": model.name, "fingerprint": model.fingerprint}
    head = _with_points(head, args)
    files: list[str] = []
    if args.out is not None:
        files.append(str(head.save(args.out)))
        if args.plot:
            from vesalius.render.charts import plot_head

            files += map(str, plot_head(head, args.out, args.positive))
    facts = head.to_dict()
    known = {name: facts[name] for name in Fitted.__dataclass_fields__ if name in facts}
    known["classes"] = tuple(head.classes)
    return Fitted(**known, files=tuple(files), head=head)


def _with_points(head: Head, args: Fit) -> Head:
    for name in ("sensitivity", "specificity", "cost"):
        value = getattr(args, name)
        if value is not None:
            point = head.operating_point(**{name: value}, positive=args.positive, prevalence=args.prevalence)
            head = head.with_point(f"{name}={value:g}" + (f" {args.positive}" if args.positive else ""), point)
    return head


@dataclass(frozen=True, eq=False)
class _Rows:
    """What a head is fitted on, one row a case; and whether the embedder itself was trained on the case."""

    ids: list[str]
    groups: list[str]
    values: list[Any]
    seen: list[bool]
    vectors: npt.NDArray[np.float32]

    def pick(self, index: Sequence[int]) -> _Rows:
        def some(column: list[Any]) -> list[Any]:
            return [column[i] for i in index]

        return _Rows(some(self.ids), some(self.groups), some(self.values), some(self.seen), self.vectors[list(index)])


def _from_library(args: Fit, model: Embedder, job: Job) -> _Rows:
    """Rows from vectors that a library holds already."""
    import numpy as np

    from vesalius.cases.targets import target_value
    from vesalius.library import Library
    from vesalius.models.fitting import mean_by_case
    from vesalius.models.seen import known_patients

    with Library.open(args.source, model, create=False, readonly=True) as library:  # type: ignore[arg-type]
        kept = [(c, v) for c in library.cases() if (v := target_value(c, args.target)) is not None]
        found = library.vectors([c.id for c, _ in kept]) if kept else None
    ids = [c.id for c, _ in kept]
    known = known_patients(model, [c for c, _ in kept], job)
    vectors = np.zeros((0, model.dim), np.float32) if found is None else mean_by_case(found.ids, found.vectors, ids)
    return _Rows(ids, [c.group for c, _ in kept], [v for _, v in kept], [c.group in known for c, _ in kept], vectors)


def _from_cases(args: Fit, model: Embedder, job: Job) -> _Rows:
    """Rows from images, decoded and embedded now."""
    import numpy as np

    from vesalius.cases.targets import target_value
    from vesalius.models.case_vectors import embed_cases
    from vesalius.models.seen import known_patients
    from vesalius.sources.opening import open_cases

    cases = open_cases(args.source, job, layout=args.layout, limit=args.limit)
    usable = cases.filter(lambda c: bool(c.images) and target_value(c, args.target) is not None)
    found = list(job.progress(embed_cases(usable, model, job), what="embedding"))
    vectors = np.stack([e.vector for e in found]) if found else np.zeros((0, model.dim), np.float32)
    read = [e.case for e in found]
    known = known_patients(model, read, job)
    values = [target_value(c, args.target) for c in read]
    return _Rows([c.id for c in read], [c.group for c in read], values, [c.group in known for c in read], vectors)
