"""`audit`: everything that applies, one page, exit 6 when a gate is not met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import BadInputError, ExitCode, GateError, UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Result, arg, verb
from vesalius.verbs.frame.arguments import Cases, Picture
from vesalius.verbs.frame.results import hidden
from vesalius.verbs.frame.shared import FromCases, WithModel

if TYPE_CHECKING:
    from vesalius.audit.report import AuditReport
    from vesalius.cases import CaseSet
    from vesalius.models.heads import Head

#: Same words as `audit.run.SECTIONS`, written here so that `--help` imports nothing; a test holds them together.
SECTIONS = (
    "performance", "subgroups", "shortcuts", "robustness", "blind", "attributes", "pairs", "prompts", "injection",
    "leakage",
)  # fmt: skip


@dataclass(frozen=True)
class Audit(FromCases, WithModel):
    """Which classifier, on which cases, asked what."""

    source: Cases = arg("labelled cases that the classifier was not fitted on", positional=True)
    target: str = arg("label to audit", metavar="NAME")
    positive: str | None = arg("its positive value (default: 1)", None, metavar="VALUE")
    head: Picture | None = arg("a head made by `vesalius fit`; cases of its patients are left out", None, metavar="DIR")
    labels: tuple[str, ...] = arg(
        "audit zero-shot classification instead: positive label, then its alternatives",
        (),
        separator=",",
        metavar="A,B",
    )
    threshold: float | None = arg("decision cut-off (default: the head's point for the class, else 0.5)", None)
    gate: Picture | None = arg("gate.toml with limits; a limit not met ends with exit code 6", None, metavar="FILE")
    sections: tuple[str, ...] = arg("what to run", SECTIONS, choices=SECTIONS, separator=",", metavar="A,B")
    attributes: tuple[str, ...] = arg("attributes that make subgroups (default: those known)", (), separator=",")
    anatomy: tuple[str, ...] = arg("region labels where the signal may be", (), separator=",")
    train: Cases | None = arg("cases the classifier was fitted on, to look for leakage", None, metavar="PATH")
    count_seen: bool = arg("keep cases of patients that the model was trained on", False)
    pictures: int = arg("pictures for what runs the model often", 400, metavar="N", low=1)


@dataclass(frozen=True)
class Audited(Result):
    """What an audit found; `values` is what a gate can limit."""

    target: str
    model: str
    data: str
    n: int
    positives: int
    patients: int
    findings: tuple[Mapping[str, Any], ...]
    values: Mapping[str, Mapping[str, Any]]
    skipped: Mapping[str, str]
    tested: tuple[str, ...]
    gate: tuple[Mapping[str, Any], ...]
    passed: bool
    alpha: float
    level: float
    seed: int
    seconds: float
    fingerprint: str
    sections: Mapping[str, Any]
    threshold: float
    page: str | None = None
    report: AuditReport = hidden(default=None)

    def lines(self) -> Iterator[str]:
        """The main figures, the alarms, what did not run, the gate."""
        from vesalius.audit.inputs import SEEN

        report = self.report
        yield (
            f"{report.target}: {report.model}, {report.n} cases ({report.positives} positive), "
            f"{report.patients} patients"
        )
        known = (report.sections.get("seen") or {}).get("cases") or 0
        if known:
            fate = "they are left out" if SEEN in report.sections["left_out"] else "the figures flatter it"
            yield f"  TRAINED ON: the model learned from the patients of {known} of these cases: {fate}"
        for name in ("performance.auroc", "performance.sensitivity", "performance.specificity"):
            if name in report.values:
                yield f"  {name.split('.', 1)[1]} {report.values[name]:.3f}"
        alarms = report.alarms()
        yield f"{report.verdict} (chance of any alarm where nothing is wrong: at most {report.alpha:.0%})"
        for finding in alarms:
            p = "" if finding.p_adjusted is None else f" (p {finding.p_adjusted:.2g}, n {finding.measure.n})"
            yield f"  {finding.section}: {finding.text}{p}"
        for section, why in report.skipped.items():
            yield f"not run: {section}: {why}"
        for result in report.gate:
            yield f"gate: {result}"
        if self.page is not None:
            yield f"page: {self.page}"
        try:
            report.raise_for_gate()
        except GateError as error:
            yield str(error)

    @property
    def exit_code(self) -> ExitCode:
        """6 where the gate was not met."""
        return ExitCode.OK if self.passed else ExitCode.GATE


@verb(
    "audit", "examine", uses=("device", "seed", "workers", "online"), reads_only=True, long=True,
    exits={ExitCode.GATE: "a limit of --gate is not met"}, gives=("report", "vesalius.audit.report:AuditReport"),
)  # fmt: skip
def audit(args: Audit, job: Job) -> Audited:
    """Find out whether a classifier can be trusted, and hold it to a gate."""
    from vesalius.audit.page import write
    from vesalius.audit.run import audit as run
    from vesalius.sources.opening import open_cases

    if args.head is not None and args.labels:
        raise UsageError("audit which classifier?", fix="give one of --head and --labels, or neither")
    cases = _read(open_cases(args.source, job, layout=args.layout, limit=args.limit), job, args.target)
    model, cases, threshold, positive = _classifier(args, cases, job)
    threshold = threshold if args.threshold is None else args.threshold
    extra: dict[str, Any] = {}
    if args.attributes:
        extra["attributes"] = list(args.attributes)
    if args.anatomy:
        extra["anatomy"] = list(args.anatomy)
    if args.train is not None:
        extra["train"] = _read(open_cases(args.train, job, limit=args.limit), job)
    report = run(
        cases,
        model,
        args.target,
        gate=args.gate,
        seed=job.seed,
        positive=positive,
        threshold=threshold,
        sections=list(args.sections),
        most_pictures=args.pictures,
        count_seen=args.count_seen,
        progress=job.note,
        **extra,
    )
    facts = report.to_dict()
    known = {n: facts[n] for n in Audited.__dataclass_fields__ if n in facts}
    known |= {name: tuple(facts[name]) for name in ("findings", "gate", "tested")}
    page = str(write(report, args.out)[1]) if args.out is not None else None
    return Audited(**known, threshold=threshold, page=page, report=report)


def _read(cases: CaseSet, job: Job, target: str = "") -> CaseSet:
    """The cases with their pixels at hand, read once in bounded child processes (`--workers 0`: when asked for, here).

    With a target, cases that do not know it are left unread: an audit counts them and looks no further.
    """
    from vesalius.cases import CaseSet
    from vesalius.io import decoded, hold

    if job.workers == 0:
        return cases
    cases.load()  # the records are gone through three times, and what cannot be read is to be named once
    known = cases.filter(lambda c: not target or c.label(target) not in (None, -1)).load()
    held = {c.id: c for c in hold(job.progress(decoded(known, job), len(known), "reading"))}
    refused = set(known.ids()) - set(held)
    return CaseSet([held.get(c.id, c) for c in cases if c.id not in refused], root=cases.root, name=cases.name)


def _classifier(args: Audit, cases: CaseSet, job: Job) -> tuple[Any, CaseSet, float, Any]:
    """(classifier, the cases to audit it on, its threshold, the positive value)."""
    from vesalius.cases.targets import target_value
    from vesalius.models import load
    from vesalius.models.fitting import fit
    from vesalius.models.heads import Head, HeadClassifier
    from vesalius.models.zeroshot import zero_shot

    positive: Any = args.positive if args.positive is not None else 1
    if isinstance(positive, str) and positive.lstrip("-").isdigit():
        positive = int(positive)

    def embedder(name: Any) -> Any:
        return load(name, device=job.device, online=job.online, can="embed") if isinstance(name, str) else name

    if not args.labels and args.head is None and (not isinstance(args.model, str) or args.model.startswith("dir:")):
        made = args.model
        if isinstance(made, str):
            made = load(made, device=job.device, online=job.online)
        if hasattr(made, "predict_proba"):  # a classifier of its own: nothing to fit
            return made, cases, 0.5, positive
    if args.labels:
        shot = zero_shot(embedder(args.model), args.labels)
        # The audit looks the positive class up by the target's name or value: the first label stands for it.
        return _Renamed(shot, (str(positive), *args.labels[1:])), cases, 0.5, positive
    if args.head is not None:
        head = Head.load(args.head) if isinstance(args.head, Path) else args.head
        model = embedder(head.model if isinstance(args.model, str) else args.model)
        known = set(head.groups)
        unseen = cases.filter(lambda c: c.group not in known)
        left = sum(1 for c in cases if c.group in known)
        if left:
            job.note(f"{left} case(s) left out: the head was fitted on their patients")
    else:
        half = cases.split({"fit": 0.5, "audit": 0.5}, seed=job.seed, stratify=args.target)
        model = embedder(args.model)
        job.note("no --head: a head is fitted on half of the patients and audited on the other half")
        usable = half["fit"].filter(lambda c: target_value(c, args.target) is not None)
        head, unseen = fit(usable, args.target, model=model, seed=job.seed), half["audit"]
    if not any(True for _ in unseen):
        raise BadInputError(
            "nothing left to audit",
            item=str(args.source) if isinstance(args.source, Path) else "cases",
            why="the head was fitted on every patient in it",
            fix="fit on one part and audit on another: `vesalius data split`",
        )
    classifier = HeadClassifier(head, model)
    return classifier, unseen, _threshold(head, classifier, args.target, positive, job), positive


def _threshold(head: Head, classifier: Any, target: str, positive: Any, job: Job) -> float:
    """The first stored cut-off that is about the audited class: another class's says nothing of it."""
    from vesalius.audit.inputs import positive_column

    column = positive_column(classifier, target, positive)
    for name, point in head.points.items():
        if head.column_of_point(name) == column:
            return float(point.threshold)
    if head.points:
        job.note(f"the head's cut-offs ({', '.join(head.points)}) are about another class: 0.5 is taken")
    return 0.5


class _Renamed:
    """A classifier under other class names."""

    def __init__(self, model: Any, classes: tuple[str, ...]) -> None:
        self.model, self.classes, self.name = model, classes, model.name
        #: The sentences behind the classes, for the parts of an audit that change them.
        self.zero_shot = model

    def predict_proba(self, images: Any) -> Any:
        return self.model.predict_proba(images)

    def embed(self, images: Any) -> Any:
        return self.model.embed(images)
