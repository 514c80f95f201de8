"""One audit of one classifier on one set of cases: everything that applies, what was skipped and why, one verdict."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.audit.context import Context, Settings
from vesalius.audit.finding import adjust
from vesalius.audit.gate import check_gate, read_gate
from vesalius.audit.inputs import GROUP_ATTRIBUTES, Scorer, gather, positive_column
from vesalius.audit.report import AuditReport
from vesalius.audit.scoring import Asker
from vesalius.audit.sections import SECTIONS
from vesalius.cases import CaseSet
from vesalius.corruptions import SEVERITIES
from vesalius.errors import BadInputError, UsageError
from vesalius.models.seen import seen_by

__all__ = ["SECTIONS", "AuditReport", "audit"]


def audit(
    cases: CaseSet,
    model: Scorer,
    target: str,
    *,
    gate: Mapping[str, Any] | str | Path | None = None,
    seed: int = 0,
    positive: Any = 1,
    threshold: float = 0.5,
    sections: Sequence[str] = tuple(SECTIONS),
    corruptions: str | Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    attributes: Sequence[str] = GROUP_ATTRIBUTES,
    anatomy: Sequence[str] | None = None,
    train: CaseSet | None = None,
    depth: int = 1,
    alpha: float = 0.05,
    smallest: float = 0.02,
    level: float = 0.95,
    resamples: int = 2000,
    most_pictures: int = 400,
    limit: int | None = None,
    count_seen: bool = False,
    progress: Callable[[str], None] | None = None,
) -> AuditReport:
    """Audit a two-class decision of a classifier on cases it was not trained on.

    Args:
        cases: Cases with the label and, for subgroups, attributes; regions and splits are used where they are.
        model: Gives probabilities for images; the target (or its positive value) must be one of its classes. One that
            has `predict_cases` is asked about whole cases instead.
        target: Label.
        gate: Limits (see `gate`), a TOML file or its content; results are in the report, `raise_for_gate` raises.
        seed: Seed of every random choice.
        positive: Positive value of the label.
        threshold: Decision threshold, for accuracy-like values and robustness.
        sections: Some of `SECTIONS`.
        corruptions: Names, or one registry name; by default those of the modality.
        severities: Severities to run.
        attributes: Attributes that make subgroups.
        anatomy: Labels of the regions where the signal may be (lungs, heart, the finding); all regions by default.
        train: What the model was trained on, for leakage; else the splits named in the cases' sources.
        depth: 2 adds intersections of two attributes to the subgroups.
        alpha: Chance of any alarm in an audit where nothing is wrong.
        smallest: Effects smaller than this (in AUROC, shares or probability) raise no alarm.
        level: Level of all intervals.
        resamples: Bootstrap resamples.
        most_pictures: Pictures used where the model must run many times (one a patient, drawn by the seed).
        limit: Use the first so many labelled cases.
        count_seen: Keep cases of patients that the model was trained on; by default they are left out, where its folder
            names them and enough others are there. `report.sections["seen"]` says how many there are.
        progress: Called with a line of text from time to time.

    Raises:
        BadInputError: No usable case or one class only.
        UsageError: Unknown section or class, or a gate that makes no sense.
    """
    start = time.perf_counter()
    limits = () if gate is None else read_gate(gate)
    unknown = set(sections) - set(SECTIONS)
    if unknown:
        raise UsageError(
            "unknown section of an audit", item=", ".join(sorted(unknown)), fix=f"use some of {', '.join(SECTIONS)}"
        )
    say = progress or (lambda _: None)
    inputs = gather(
        cases, target, positive=positive, limit=limit, attributes=attributes, seen=seen_by(model), count_seen=count_seen
    )
    asker = Asker(model, inputs, positive_column(model, target, positive))
    say(f"scoring {len(inputs)} cases")
    settings = Settings(
        target, threshold, seed, resamples, level, corruptions, severities, anatomy, train, depth, most_pictures
    )
    context = Context(inputs, asker, asker.all(), settings, say)
    for name, section in SECTIONS.items():
        if name not in sections:
            context.skipped[name] = "not asked for"
            continue
        say(name)
        try:
            section(context)
        except BadInputError as error:
            context.skipped[name] = str(error).removesuffix(".")
    findings = adjust(context.findings, alpha, smallest)
    # No alarm counts for something only where one could have been raised: nothing tested is not passed.
    tested = context.checked | {f.section for f in findings if f.p is not None}
    if tested:
        context.put("alarms.all", float(sum(f.alarm for f in findings)))
    for name in tested:
        context.put(f"alarms.{name}", float(sum(f.alarm and f.section == name for f in findings)))
    return AuditReport(
        target=target,
        model=str(getattr(model, "name", type(model).__name__)),
        data=cases.name or "",
        n=len(inputs),
        positives=int(inputs.y.sum()),
        patients=len(set(inputs.patients)),
        findings=findings,
        values=context.values,
        skipped=context.skipped,
        gate=check_gate(limits, context.values),
        alpha=alpha,
        level=level,
        seed=seed,
        seconds=time.perf_counter() - start,
        tested=tuple(name for name in SECTIONS if name in tested),
        fingerprint=_fingerprint(context, positive, sections),
        sections={**context.sections, "left_out": inputs.left_out, "seen": {"cases": inputs.seen}},
    )


def _fingerprint(context: Context, positive: Any, sections: Sequence[str]) -> str:
    """SHA-256 over what was asked, of which cases, and what the model said (to nine digits)."""
    s = context.settings
    h = hashlib.sha256(json.dumps([s.target, str(positive), s.seed, s.threshold, list(sections)]).encode())
    h.update(" ".join(c.id for c in context.inputs.cases).encode())
    h.update(np.round(context.score, 9).tobytes())
    return h.hexdigest()
