"""One audit of one classifier on one set of cases: everything that applies, what was skipped and why, one verdict."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from vesalius.audit import blind, shortcuts, words
from vesalius.audit.corruptions import SEVERITIES, datasets, registry
from vesalius.audit.finding import Finding, adjust, plain
from vesalius.audit.gate import GateResult, check_gate, enforce, read_gate
from vesalius.audit.injection import injection_audit
from vesalius.audit.inputs import GROUP_ATTRIBUTES, Inputs, Scorer, display, gather, positive_column
from vesalius.audit.leakage import leakage
from vesalius.audit.robustness import Robustness, robustness
from vesalius.audit.subgroups import SubgroupReport, subgroups
from vesalius.cases import Case, CaseSet
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.bootstrap import bootstrap
from vesalius.metrics.calibration import brier, ece, reliability_curve
from vesalius.metrics.classification import auprc, roc_curve
from vesalius.metrics.rates import rates_at

__all__ = ["SECTIONS", "AuditReport", "audit"]

SECTIONS = (
    "performance", "subgroups", "shortcuts", "robustness", "blind", "attributes", "pairs", "prompts", "injection",
    "leakage",
)  # fmt: skip
Values = dict[str, tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class AuditReport:
    """Everything an audit found.

    Args:
        target: Audited label.
        model: Name of the model.
        data: Name of the case set.
        n: Cases.
        positives: Positive cases.
        patients: Patients.
        findings: Every statement, tested ones corrected over the whole run.
        values: Name to (estimate, low, high): what gates look at.
        skipped: Section (or part) to why it did not run.
        gate: Results of the gate, empty without one.
        alpha: Family-wise error rate of the alarms.
        seed: Seed.
        seconds: Wall time.
        fingerprint: SHA-256 over target, cases, scores and settings.
        sections: Section to its own plain data, for plots.
    """

    target: str
    model: str
    data: str
    n: int
    positives: int
    patients: int
    findings: tuple[Finding, ...]
    values: Values
    skipped: dict[str, str]
    gate: tuple[GateResult, ...]
    alpha: float
    seed: int
    seconds: float
    fingerprint: str
    sections: dict[str, Any] = field(repr=False)

    def alarms(self) -> tuple[Finding, ...]:
        """Findings that pass the error rate."""
        return tuple(f for f in self.findings if f.alarm)

    @property
    def passed(self) -> bool:
        """Every limit of the gate was met (true without a gate)."""
        return all(r.passed for r in self.gate)

    def raise_for_gate(self) -> None:
        """Raise `GateError` (exit code 6) when the gate was not met; write the report first.

        Raises:
            GateError: A limit was not met.
        """
        enforce(self.gate)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON without NaN."""
        data = {k: v for k, v in vars(self).items() if k not in ("findings", "gate", "values")}
        data["findings"] = [f.to_dict() for f in self.findings]
        data["gate"] = [r.to_dict() for r in self.gate]
        data["passed"] = self.passed
        data["values"] = {k: {"estimate": e, "low": lo, "high": hi} for k, (e, lo, hi) in self.values.items()}
        out: dict[str, Any] = plain(data)
        return out

    def html(self) -> str:
        """One page that needs nothing else: no script, no link, plots inside."""
        from vesalius.audit.page import page

        return page(self)

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `audit.json` and `audit.html` into a folder; returns both paths."""
        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        data, text = where / "audit.json", where / "audit.html"
        data.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        text.write_text(self.html(), "utf-8")
        return data, text


@dataclass
class _Run:
    """What the sections share while an audit runs."""

    inputs: Inputs
    score: npt.NDArray[np.float64]
    predict: Callable[[Sequence[npt.NDArray[Any]], Sequence[int]], npt.NDArray[np.float64]]
    threshold: float
    seed: int
    resamples: int
    level: float
    progress: Callable[[str], None]
    findings: list[Finding] = field(default_factory=list)
    values: Values = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    pictures: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    vectors: npt.NDArray[np.float64] | None = None

    def picture(self, index: int) -> npt.NDArray[np.uint8]:
        if index not in self.pictures:
            self.pictures[index] = display(self.inputs.images[index])
        return self.pictures[index]


def audit(
    cases: CaseSet,
    model: Scorer,
    target: str,
    *,
    gate: Mapping[str, Any] | str | Path | None = None,
    seed: int = 0,
    positive: Any = 1,
    threshold: float = 0.5,
    sections: Sequence[str] = SECTIONS,
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
    progress: Callable[[str], None] | None = None,
) -> AuditReport:
    """Audit a two-class decision of a classifier on cases it was not trained on.

    Args:
        cases: Cases with the label and, for subgroups, attributes; regions and splits are used where they are.
        model: Gives probabilities for images; the target (or its positive value) must be one of its classes.
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
    inputs = gather(cases, target, positive=positive, limit=limit, attributes=attributes)
    column = positive_column(model, target, positive)
    say(f"scoring {len(inputs)} cases")
    score = _checked(model.predict_proba(list(inputs.images)), column, len(inputs))

    def predict(arrays: Sequence[npt.NDArray[Any]], where: Sequence[int]) -> npt.NDArray[np.float64]:
        seen = [inputs.images[i].with_array(np.asarray(a)) for a, i in zip(arrays, where, strict=True)]
        return _checked(model.predict_proba(seen), column, len(seen))

    run = _Run(inputs, score, predict, threshold, seed, resamples, level, say)
    steps: dict[str, Callable[[], None]] = {
        "performance": lambda: _performance(run),
        "subgroups": lambda: _subgroups(run, depth),
        "shortcuts": lambda: _shortcuts(run, most_pictures, anatomy),
        "robustness": lambda: _robustness(run, corruptions, severities, most_pictures),
        "blind": lambda: _blind(run),
        "attributes": lambda: _attributes(run, model),
        "pairs": lambda: _pairs(run, model),
        "prompts": lambda: _prompts(run, model, column),
        "injection": lambda: _injection(run, model, target, column),
        "leakage": lambda: _leakage(run, train),
    }
    for name in SECTIONS:
        if name not in sections:
            run.skipped[name] = "not asked for"
            continue
        say(name)
        try:
            steps[name]()
        except BadInputError as error:
            run.skipped[name] = str(error)
    findings = adjust(run.findings, alpha, smallest)
    run.values["alarms.all"] = (float(sum(f.alarm for f in findings)), None, None)
    for name in SECTIONS:
        if name not in run.skipped:
            run.values[f"alarms.{name}"] = (float(sum(f.alarm and f.section == name for f in findings)), None, None)
    h = hashlib.sha256(json.dumps([target, str(positive), seed, threshold, list(sections)]).encode())
    h.update(" ".join(c.id for c in inputs.cases).encode())
    h.update(np.round(score, 9).tobytes())
    return AuditReport(
        target,
        str(getattr(model, "name", type(model).__name__)),
        cases.name or "",
        len(inputs),
        int(inputs.y.sum()),
        len(set(inputs.patients)),
        findings,
        run.values,
        run.skipped,
        check_gate(limits, run.values),
        alpha,
        seed,
        time.perf_counter() - start,
        h.hexdigest(),
        {**run.sections, "left_out": inputs.left_out},
    )


def _checked(probability: npt.ArrayLike, column: int, n: int) -> npt.NDArray[np.float64]:
    table = np.asarray(probability, dtype=np.float64)
    if table.ndim != 2 or len(table) != n or not np.isfinite(table).all() or table.min() < 0 or table.max() > 1:
        raise UsageError(
            "the model does not give probabilities",
            why=f"shape {table.shape} for {n} images"
            if table.ndim != 2 or len(table) != n
            else "values outside [0, 1]",
        )
    return np.asarray(table[:, column])


def _clusters(run: _Run) -> list[str] | None:
    return list(run.inputs.patients) if len(set(run.inputs.patients)) < len(run.inputs) else None


def _performance(run: _Run) -> None:
    y, s = run.inputs.y, run.score
    b = bootstrap(y, s, "auroc", resamples=run.resamples, seed=run.seed, groups=_clusters(run), level=run.level)
    run.values["performance.auroc"] = (b.estimate, b.interval.low, b.interval.high)
    run.values["performance.auprc"] = (auprc(y, s), None, None)
    run.values["performance.brier"] = (brier(y, s), None, None)
    run.values["performance.ece"] = (ece(y, s, 10), None, None)
    rates = rates_at(y, s, run.threshold)
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        value = getattr(rates, name)
        if value is None:
            continue
        try:
            r = bootstrap(
                y,
                s,
                name,
                run.threshold,
                resamples=run.resamples,
                seed=run.seed,
                groups=_clusters(run),
                level=run.level,
            )
            run.values[f"performance.{name}"] = (value, r.interval.low, r.interval.high)
        except BadInputError:
            run.values[f"performance.{name}"] = (value, None, None)
    curve = roc_curve(y, s)
    keep = np.unique(np.linspace(0, len(curve.fpr) - 1, 200).astype(int))
    reliability = reliability_curve(y, s, bins=10)
    run.sections["performance"] = {
        "prevalence": float(y.mean()),
        "threshold": run.threshold,
        "roc": {"fpr": curve.fpr[keep], "tpr": curve.tpr[keep]},
        "reliability": {k: getattr(reliability, k) for k in vars(reliability)},
    }


def _subgroups(run: _Run, depth: int) -> None:
    if not run.inputs.attributes:
        run.skipped["subgroups"] = "the cases have no attributes (or each has one value, or too many)"
        return
    report: SubgroupReport = subgroups(
        run.inputs.y, run.score, run.inputs.attributes, patients=_clusters(run), depth=depth, threshold=run.threshold,
        measures=("auroc", "sensitivity", "specificity", "calibration"), resamples=run.resamples, seed=run.seed,
        level=run.level,
    )  # fmt: skip
    # AUROC and calibration are tested; rates at one threshold follow from them and are described.
    run.findings += [f for f in report.findings() if f.name.startswith(("auroc:", "calibration:"))]
    one = run.inputs.one_a_patient(run.seed)
    some = {k: [v[int(i)] for i in one] for k, v in run.inputs.attributes.items()}
    run.findings += shortcuts.score_dependence(run.inputs.y[one], run.score[one], some)
    worst = report.worst("auroc")
    if worst is not None and worst.estimate is not None and worst.interval is not None:
        run.values["subgroups.worst_auroc"] = (worst.estimate, worst.interval.low, worst.interval.high)
    gaps = [abs(r.gap) for r in report.results if r.measure == "auroc" and r.gap is not None]
    if gaps:
        run.values["subgroups.largest_auroc_gap"] = (max(gaps), None, None)
    for name, value in report.equity_scaled_auroc.items():
        run.values[f"subgroups.equity_scaled_auroc.{name}"] = (value, None, None)
    data = report.to_dict()
    data["worst"] = None if worst is None else worst.group
    run.sections["subgroups"] = data


def _shortcuts(run: _Run, most: int, anatomy: Sequence[str] | None) -> None:
    if not run.inputs.flat:
        run.skipped["shortcuts"] = "the images are not single pictures"
        return
    index = run.inputs.one_a_patient(run.seed, most)
    y = run.inputs.y[index]
    if min(int(y.sum()), int((1 - y).sum())) < 10:
        run.skipped["shortcuts"] = f"fewer than 10 patients of a class ({int(y.sum())} of {len(y)} positive)"
        return
    where = [int(i) for i in index]
    pictures = [run.picture(i) for i in where]

    def predict(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        return run.predict(arrays, where)

    (border,) = shortcuts.border_audit(pictures, y, predict, level=run.level)
    regions = run.inputs.regions(index, [p.shape for p in pictures], anatomy)
    cells, loss = shortcuts.occlusion_audit(
        pictures, y, predict, regions=regions, level=run.level, progress=run.progress
    )
    run.findings += [border, *cells]
    run.values["shortcuts.border_auroc"] = _triple(border)
    drawn = [r is not None and bool(r.any()) for r in regions]
    masks: list[dict[str, Any]] = []
    both = np.asarray(drawn)
    if min(int((y[both] == 1).sum()), int((y[both] == 0).sum())) >= 10:
        keep = np.flatnonzero(both)
        chosen = [cast("npt.NDArray[np.bool_]", regions[int(i)]) for i in keep]

        def predict_kept(arrays: list[npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
            return run.predict(arrays, [where[int(i)] for i in keep])

        found = shortcuts.mask_audit([pictures[int(i)] for i in keep], chosen, y[keep], predict_kept, level=run.level)
        run.findings += found
        masks = [f.to_dict() for f in found]
        for f in found:
            run.values[f"shortcuts.{f.name.replace(':', '.')}"] = _triple(f)
    else:
        run.skipped["shortcuts: masks"] = "regions are not drawn on 10 positive and 10 negative cases"
    sizes = {p.shape[:2] for p in pictures}
    mean = np.mean([_thumb(p) for p in pictures], axis=0)
    run.sections["shortcuts"] = {"occlusion": loss, "mean_image": np.rint(mean), "n": len(where), "masks": masks,
                                 "sizes": len(sizes)}  # fmt: skip


def _robustness(run: _Run, names: str | Sequence[str] | None, severities: Sequence[int], most: int) -> None:
    if not run.inputs.flat:
        run.skipped["robustness"] = "the images are not single pictures"
        return
    dataset = "default"
    if names is None:
        dataset = run.inputs.modality if run.inputs.modality in datasets() else "default"
        chosen = registry(dataset)
    elif isinstance(names, str):
        dataset, chosen = names, registry(names)
    else:
        chosen = tuple(names)
    index = [int(i) for i in run.inputs.one_a_patient(run.seed, most)]
    pictures = [run.picture(i) for i in index]
    if dataset == "default" and all(p.ndim == 2 or p.shape[2] == 1 for p in pictures):
        chosen = tuple(n for n in chosen if n != "saturate")
    result: Robustness = robustness(
        pictures, run.inputs.y[index], lambda arrays: run.predict(arrays, index), chosen, dataset=dataset,
        task="binary", threshold=run.threshold, severities=severities,
        image_ids=[run.inputs.cases[i].id for i in index], resamples=min(run.resamples, 1000), level=run.level,
        seed=run.seed, progress=run.progress,
    )  # fmt: skip
    interval = result.mean_interval
    run.values["robustness.skill_loss"] = (result.mean_skill_loss, interval.low, interval.high)
    run.values["robustness.clean_error"] = (result.clean, None, None)
    for name, value in result.skill_loss.items():
        run.values[f"robustness.skill_loss.{name}"] = (value, None, None)
    run.sections["robustness"] = {**result.to_dict(), "dataset": dataset, "severities": list(severities)}


def _blind(run: _Run) -> None:
    if run.inputs.attributes:
        found = blind.metadata_baseline(
            run.inputs.y, run.score, run.inputs.attributes, patients=run.inputs.patients, seed=run.seed, level=run.level
        )
        run.findings.append(found)
        run.values["blind.metadata_auroc"] = _triple(found)
    else:
        run.skipped["blind: metadata"] = "the cases have no attributes"
    if not run.inputs.flat:
        run.skipped["blind: brightness"] = "the images are not single pictures"
        return
    index = [int(i) for i in run.inputs.one_a_patient(run.seed)][:2000]
    flat = blind.blank([run.picture(i) for i in index], "mean")
    score = run.predict(flat, index)
    found = shortcuts.brightness_finding(run.inputs.y[index], score, run.level)
    run.findings.append(found)
    run.values["blind.brightness_auroc"] = _triple(found)


def _attributes(run: _Run, model: Scorer) -> None:
    embed = getattr(model, "embed", None)
    if embed is None:
        run.skipped["attributes"] = "the model gives no embeddings"
        return
    if not run.inputs.attributes:
        run.skipped["attributes"] = "the cases have no attributes"
        return
    vectors = np.asarray(embed(list(run.inputs.images)), dtype=np.float64)
    found = shortcuts.attribute_probes(
        vectors, run.inputs.attributes, patients=run.inputs.patients, seed=run.seed, level=run.level
    )
    run.findings += found
    for f in found:
        run.values[f"attributes.{f.name.partition(':')[2]}"] = _triple(f)
    run.sections["attributes"] = [f.to_dict() for f in found]


def _zero(model: Scorer) -> words.Zero | None:
    """The sentences behind a zero-shot classifier, also when it goes by other class names."""
    found = getattr(model, "zero_shot", model)
    return found if isinstance(found, words.Zero) else None


def _pairs(run: _Run, model: Scorer) -> None:
    pairs = words.matched_pairs(run.inputs.y, run.inputs.attributes, run.inputs.patients, run.seed)
    result = words.score_pairs(pairs, run.score, run.threshold)
    best = result.corrected
    run.values["pairs.set_accuracy"] = (result.set_accuracy, result.set_interval.low, result.set_interval.high)
    run.values["pairs.discrimination"] = (best.value, best.interval.low, best.interval.high)
    run.values["pairs.confusion"] = (result.confusion_all, None, None)
    alike = float(np.mean([len(p.alike) for p in pairs]))
    text = (
        f"of {result.n} pairs of patients alike in {alike:.1f} attributes on average, {result.set_accuracy:.1%} have "
        f"both answers right (chance 25 %), {result.confusion_all:.1%} get one answer twice; "
        f"discrimination {best.value:.3f}"
    )
    run.findings.append(Finding("pairs", "pairs:matched", text, best.value, 0.0, best.interval, result.n))
    run.sections["pairs"] = {"matched": result.to_dict()}
    zero = _zero(model)
    if zero is None:
        run.skipped["pairs: labels asked about"] = "the model is not made of sentences, so it knows one label only"
        return
    try:
        asked = words.ask_labels(run.inputs.cases, _vectors(run, zero), zero.embedder, run.seed)
    except BadInputError as error:
        run.skipped["pairs: labels asked about"] = str(error)
        return
    run.sections["pairs"]["asked"] = asked.to_dict()
    corrected = asked.corrected_overall
    if corrected is not None:
        low, high = corrected.interval.low, corrected.interval.high
        run.values["pairs.asked_accuracy"] = (asked.published_overall, None, None)
        run.values["pairs.asked_discrimination"] = (corrected.value, low, high)
        text = (
            f"asked about a finding that is there and one that is not: both right on {asked.published_overall:.1%} of "
            f"{corrected.n} images (a coin 25 %); discrimination {corrected.value:.3f}"
        )
        run.findings.append(
            Finding("pairs", "pairs:asked", text, corrected.value, 0.0, corrected.interval, corrected.n)
        )


def _vectors(run: _Run, zero: words.Zero) -> npt.NDArray[np.float64]:
    if run.vectors is None:
        run.vectors = np.asarray(zero.embedder.embed(list(run.inputs.images)), dtype=np.float64)
    return run.vectors


def _prompts(run: _Run, model: Scorer, column: int) -> None:
    zero = _zero(model)
    if zero is None:
        run.skipped["prompts"] = "the model is not made of sentences"
        return
    found = words.single_prompts(
        run.inputs.y, _vectors(run, zero), zero, column, threshold=run.threshold, patients=_clusters(run),
        seed=run.seed, resamples=min(run.resamples, 1000), level=run.level,
    )  # fmt: skip
    low, high = found.spread_interval.low, found.spread_interval.high
    run.values["prompts.spread"] = (found.spread, low, high)
    run.values["prompts.worst_auroc"] = (found.by_prompt[found.worst], None, None)
    run.values["prompts.optimism"] = (found.optimism, None, None)
    if found.flip_rate is not None:
        run.values["prompts.flip_rate"] = (found.flip_rate, None, None)
    text = (
        f'{len(found.by_prompt)} wordings give AUROC {found.by_prompt[found.worst]:.3f} ("{found.worst}") to '
        f'{found.by_prompt[found.best]:.3f} ("{found.best}")'
    )
    run.findings.append(Finding("prompts", "prompts:spread", text, found.spread, 0.0, found.spread_interval, found.n))
    run.sections["prompts"] = found.to_dict()


def _injection(run: _Run, model: Scorer, target: str, column: int) -> None:
    if not run.inputs.flat:
        run.skipped["injection"] = "the images are not single pictures"
        return
    index = [int(i) for i in run.inputs.one_a_patient(run.seed, 120)]
    pictures = [run.picture(i) for i in index]
    wanted = target.replace("_", " ")
    zero = _zero(model)
    named = (wanted, f"no {wanted}")
    if zero is not None:
        named = (zero.classes[column], next(c for k, c in enumerate(zero.classes) if k != column))

    def predict(arrays: list[npt.NDArray[Any]], where: Sequence[int]) -> npt.NDArray[np.float64]:
        return run.predict(arrays, [index[int(i)] for i in where])

    y = run.inputs.y[index]
    found = injection_audit(
        pictures, y, predict, named, keys=[run.inputs.cases[i].id for i in index], threshold=run.threshold,
        level=run.level, seed=run.seed,
    )  # fmt: skip
    if not found:
        run.skipped["injection"] = "fewer than 10 patients of each class"
        return
    run.findings += found
    for f in found:
        run.values[f.name.replace(":", ".")] = _triple(f)
        run.values[f"{f.name.replace(':', '.')}.flip_rate"] = (f.details["written"], None, None)


def _leakage(run: _Run, train: CaseSet | None) -> None:
    parts: dict[str, list[Case]] = {}
    if train is not None:
        parts = {"train": list(train), "audited": list(run.inputs.cases)}
    else:
        for case in run.inputs.cases:
            if case.source.split:
                parts.setdefault(case.source.split, []).append(case)
    if len(parts) < 2:
        run.skipped["leakage"] = "no training set was given and the cases name no two splits"
        return
    leaks = leakage(parts)
    for kind in ("patient", "exact", "near"):
        number = sum(x.kind == kind for x in leaks)
        run.values[f"leakage.{kind}"] = (float(number), None, None)
        if number:
            example = next(x for x in leaks if x.kind == kind)
            text = f"{number} {kind} leaks between parts, for example {example.a} and {example.b}"
            run.findings.append(
                Finding("leakage", f"leakage:{kind}", text, float(number), 0.0, n=len(run.inputs), p=0.0)
            )
    run.sections["leakage"] = [x.to_dict() for x in leaks[:200]]


def _triple(f: Finding) -> tuple[float, float | None, float | None]:
    return (f.estimate, f.interval.low, f.interval.high) if f.interval else (f.estimate, None, None)


def _thumb(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    from PIL import Image as Pillow

    grey = Pillow.fromarray(picture if picture.ndim == 2 or picture.shape[2] == 3 else picture[:, :, 0]).convert("L")
    return np.asarray(grey.resize((96, 96)), dtype=np.float64)
