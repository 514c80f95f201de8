"""`vesalius audit CASES --target NAME`: everything that applies, one page, exit 6 when a gate is not met."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.cli.common import Run, add_flags
from vesalius.errors import BadInputError, UsageError

if TYPE_CHECKING:
    from vesalius.cases import CaseSet

#: Same words as `audit.run.SECTIONS`, written here so that `--help` imports nothing.
SECTIONS = (
    "performance", "subgroups", "shortcuts", "robustness", "blind", "attributes", "pairs", "prompts", "injection",
    "leakage",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("source", type=Path, help="labelled cases that the classifier was not fitted on")
    parser.add_argument("--target", required=True, help="label to audit")
    parser.add_argument("--positive", help="its positive value (default: 1)")
    parser.add_argument("--head", type=Path, help="a head made by `vesalius fit`; cases of its patients are left out")
    parser.add_argument(
        "--labels", help="audit zero-shot classification instead: positive label, then its alternatives"
    )
    parser.add_argument("--threshold", type=float, help="decision cut-off (default: the head's point, else 0.5)")
    parser.add_argument("--gate", type=Path, help="gate.toml with limits; a limit not met ends with exit code 6")
    parser.add_argument(
        "--sections", default=",".join(SECTIONS), help="what to run, separated by commas (default: all)"
    )
    parser.add_argument(
        "--attributes", help="attributes that make subgroups, separated by commas (default: those known)"
    )
    parser.add_argument("--anatomy", help="region labels where the signal may be, separated by commas")
    parser.add_argument("--train", type=Path, help="cases the classifier was fitted on, to look for leakage")
    parser.add_argument(
        "--pictures", type=int, default=400, help="pictures for what runs the model often (default: 400)"
    )
    parser.add_argument("--layout", default="", help="layout of SRC (default: found out)")
    add_flags(parser, "--model", "--device", "--seed", "--limit", "--workers", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Audit, write the page, hold to the gate."""
    from vesalius.audit.page import write
    from vesalius.audit.run import audit
    from vesalius.cli.sources import open_cases

    if options.head is not None and options.labels is not None:
        raise UsageError("audit which classifier?", fix="give one of --head and --labels, or neither")
    sections = [s.strip() for s in options.sections.split(",") if s.strip()]
    cases = _read(open_cases(options.source, options, run, layout=options.layout), options, run, options.target)
    model, cases, threshold, positive = _classifier(options, cases, run)
    extra: dict[str, Any] = {}
    if options.attributes:
        extra["attributes"] = [a.strip() for a in options.attributes.split(",")]
    if options.anatomy:
        extra["anatomy"] = [a.strip() for a in options.anatomy.split(",")]
    if options.train is not None:
        extra["train"] = _read(open_cases(options.train, options, run), options, run)
    report = audit(
        cases,
        model,
        options.target,
        gate=options.gate,
        seed=options.seed,
        positive=positive,
        threshold=options.threshold if options.threshold is not None else threshold,
        sections=sections,
        most_pictures=options.pictures,
        progress=run.note,
        **extra,
    )
    run.result = report.to_dict()
    run.say(
        f"{report.target}: {report.model}, {report.n} cases ({report.positives} positive), {report.patients} patients"
    )
    for name in ("performance.auroc", "performance.sensitivity", "performance.specificity"):
        if name in report.values:
            run.say(f"  {name.split('.', 1)[1]} {report.values[name]:.3f}")
    alarms = report.alarms()
    run.say(f"{report.verdict} (chance of any alarm where nothing is wrong: at most {report.alpha:.0%})")
    for finding in alarms:
        p = "" if finding.p_adjusted is None else f" (p {finding.p_adjusted:.2g}, n {finding.measure.n})"
        run.say(f"  {finding.section}: {finding.text}{p}")
    for section, why in report.skipped.items():
        run.say(f"not run: {section}: {why}")
    for result in report.gate:
        run.say(f"gate: {result}")
    if run.out is not None:
        _, page = write(report, run.out)
        run.say(f"page: {page}")
    report.raise_for_gate()


def _read(cases: CaseSet, options: argparse.Namespace, run: Run, target: str = "") -> CaseSet:
    """The cases with their pixels at hand, read once in bounded child processes (`--workers 0`: when asked for, here).

    With a target, cases that do not know it are left unread: an audit counts them and looks no further.
    """
    from vesalius.cases import CaseSet
    from vesalius.io import decoded, hold

    if options.workers == 0:
        return cases
    cases.load()  # the records are gone through three times, and what cannot be read is to be named once
    known = cases.filter(lambda c: not target or c.label(target) not in (None, -1)).load()
    run.note(f"reading the images of {len(known)} cases")
    held = {c.id: c for c in hold(decoded(known, workers=options.workers, on_refused=run.refuse))}
    refused = set(known.ids()) - set(held)
    return CaseSet([held.get(c.id, c) for c in cases if c.id not in refused], root=cases.root, name=cases.name)


def _classifier(options: argparse.Namespace, cases: CaseSet, run: Run) -> tuple[Any, CaseSet, float, Any]:
    """(classifier, the cases to audit it on, its threshold, the positive value)."""
    from vesalius.cases.targets import target_value
    from vesalius.models import load
    from vesalius.models.fitting import fit
    from vesalius.models.heads import Head, HeadClassifier
    from vesalius.models.zeroshot import zero_shot

    positive: Any = options.positive if options.positive is not None else 1
    if isinstance(positive, str) and positive.lstrip("-").isdigit():
        positive = int(positive)
    if options.labels is None and options.head is None and options.model.startswith("dir:"):
        made = load(options.model, device=options.device, online=run.online)
        if hasattr(made, "predict_proba"):  # a classifier of its own: nothing to fit
            return made, cases, 0.5, positive
    if options.labels is not None:
        labels = [label.strip() for label in options.labels.split(",") if label.strip()]
        model = load(options.model, device=options.device, online=run.online, can="embed")
        shot = zero_shot(model, labels)
        # The audit looks the positive class up by the target's name or value: the first label stands for it.
        return _Renamed(shot, (str(positive), *labels[1:])), cases, 0.5, positive
    if options.head is not None:
        head = Head.load(options.head)
        model = load(head.model, device=options.device, online=run.online, can="embed")
        known = set(head.groups)
        unseen = cases.filter(lambda c: c.group not in known)
        left = sum(1 for c in cases if c.group in known)
        if left:
            run.note(f"{left} case(s) left out: the head was fitted on their patients")
    else:
        half = cases.split({"fit": 0.5, "audit": 0.5}, seed=options.seed, stratify=options.target)
        model = load(options.model, device=options.device, online=run.online, can="embed")
        run.note("no --head: a head is fitted on half of the patients and audited on the other half")
        usable = half["fit"].filter(lambda c: target_value(c, options.target) is not None)
        head, unseen = fit(usable, options.target, model=model, seed=options.seed), half["audit"]
    if not any(True for _ in unseen):
        raise BadInputError(
            "nothing left to audit",
            item=str(options.source),
            why="the head was fitted on every patient in it",
            fix="fit on one part and audit on another: `vesalius data split`",
        )
    threshold = next((p.threshold for p in head.points.values()), 0.5)
    return HeadClassifier(head, model), unseen, threshold, positive


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
