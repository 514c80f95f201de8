"""The audit as one HTML page: what to worry about first, then each section with its plot and its numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.audit.finding import Finding
from vesalius.audit.inputs import SEEN
from vesalius.audit.report import AuditReport
from vesalius.metrics.measure import Measure
from vesalius.render.pages import Beside, Fold, Part, Plot, Row, Section, Table, Text, number, p_value
from vesalius.render.pages import page as rendered
from vesalius.render.svg import ForestRow, curve, forest, heat, lines

__all__ = ["page", "write"]

TITLES = {
    "performance": "Performance",
    "subgroups": "Subgroups",
    "shortcuts": "Shortcuts",
    "robustness": "Robustness to corruptions",
    "blind": "Without the image",
    "attributes": "What the embedding knows",
    "pairs": "Probing pairs",
    "prompts": "Other words, same cases",
    "injection": "Words burned into the picture",
    "leakage": "Leakage between splits",
}

MEASURE_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "brier": "Brier score",
    "ece": "ECE, 10 bins",
}
#: What is left of the image, by the name of the finding.
PARTS = {
    "border": "border alone",
    "mask:full": "whole image",
    "mask:no-roi": "region removed",
    "mask:no-box": "region's box removed",
    "mask:only-roi": "region alone",
    "mask:only-box": "region's box alone",
    "mask:outline": "region's outline alone",
    "mask:no-fixed": "common area removed",
    "mask:only-fixed": "common area alone",
}


#: Value to the label of its card, at the top of the page.
CARDS = (
    ("performance.auroc", "AUROC"),
    ("subgroups.worst_auroc", "AUROC of the worst group"),
    ("shortcuts.border_auroc", "AUROC from the border alone"),
    ("robustness.skill_loss", "skill lost to corruptions"),
    ("blind.metadata_auroc", "AUROC of metadata alone"),
    ("performance.ece", "calibration error (ECE)"),
)


def page(report: AuditReport) -> str:
    """The whole page as text: it needs nothing else, no script, no link, plots inside."""
    left = report.sections.get("left_out") or {}
    return rendered(
        "audit",
        f"Audit of {report.model}: {report.target}",
        _sections(report),
        report=report,
        bad=bool(report.alarms()) or not report.passed or not report.tested,
        cards=[(label, report.values[key]) for key, label in CARDS if key in report.values],
        left_out=("; left out: " + ", ".join(f"{v} ({k})" for k, v in left.items()) if left else "")
        + _flattered(report),
    )


def write(report: AuditReport, folder: str | Path) -> tuple[Path, Path]:
    """Write `audit.json` and `audit.html` into a folder; returns both paths."""
    where = Path(folder)
    where.mkdir(parents=True, exist_ok=True)
    data, text = where / "audit.json", where / "audit.html"
    data.write_text(json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    text.write_text(page(report), "utf-8")
    return data, text


def _sections(report: AuditReport) -> Iterator[Section]:
    yield from _gate(report)
    alarms = sorted(report.alarms(), key=lambda f: (f.p_adjusted or 0.0, -abs(f.effect)))
    if alarms:
        yield Section("Alarms", parts=[_findings(alarms, report.level)])
    yield from _performance(report)
    yield from _subgroups(report)
    yield from _shortcuts(report)
    yield from _robustness(report)
    yield from _described(
        report, "blind", "How far one gets without looking. Values near the model's own are a warning."
    )
    yield from _attributes(report)
    yield from _described(
        report, "pairs", "Only a model that looks gets both of a pair right; discrimination 0 is not looking."
    )
    yield from _prompts(report)
    yield from _described(
        report, "injection", "How far a class name on the picture moves the answer, beyond its own letters shuffled."
    )
    yield from _leakage(report)
    if report.skipped:
        rows = [Row([name, why]) for name, why in report.skipped.items()]
        yield Section("Not run", parts=[Table(("section", "why"), rows)])
    everything = Fold(f"{len(report.findings)} findings", _findings(report.findings, report.level))
    yield Section("Everything measured", parts=[everything])


def _interval(level: float) -> str:
    return f"{100 * level:g} % interval"


def _gate(report: AuditReport) -> Iterator[Section]:
    if not report.gate:
        return
    rows = [
        Row(
            [
                r.limit.name,
                r.limit.use,
                "" if r.limit.at_least is None else f"≥ {r.limit.at_least:g}",
                "" if r.limit.at_most is None else f"≤ {r.limit.at_most:g}",
                r.why,
                "met" if r.passed else "NOT MET",
            ],
            not r.passed,
        )
        for r in report.gate
    ]
    yield Section("Gate", parts=[Table(("value", "uses", "at least", "at most", "result", ""), rows)])


def _findings(findings: Sequence[Finding], level: float, *, sections: bool = True) -> Table:
    """Findings in rows; columns that would be empty or say one thing throughout are left out."""
    tested = any(f.p is not None for f in findings)
    head = [*(["section"] if sections else []), "finding", "value", _interval(level), "n"]
    rows = []
    for f in findings:
        row = [f.section] if sections else []
        row += [
            f.text,
            number(f.measure.value, 0 if f.section == "leakage" else 3),
            f.measure.limits(),
            f"{f.measure.n:,}",
        ]
        rows.append(Row(row + ([p_value(f.p_adjusted)] if tested else []), f.alarm))
    first = 2 if sections else 1
    return Table([*head, *(["p (corrected)"] if tested else [])], rows, range(first, first + 4))


def _performance(report: AuditReport) -> Iterator[Section]:
    data = report.sections.get("performance")
    if data is None:
        return
    roc = list(zip([0.0, *data["roc"]["fpr"]], [0.0, *data["roc"]["tpr"]], strict=True))
    reliability = data["reliability"]
    points = list(zip(reliability["predicted"], reliability["observed"], strict=True))
    measured = [(label, report.values.get(f"performance.{n}")) for n, label in MEASURE_NAMES.items()]
    rows = [Row([label, number(m.value), m.limits()]) for label, m in measured if m is not None]
    parts: list[Part] = [
        Plot(curve({"roc": roc}, x="1 - specificity", y="sensitivity", label="ROC curve")),
        Plot(curve({"r": points}, x="stated probability", y="observed share", dots=True, label="reliability")),
        Table(("measure", "value", _interval(report.level)), rows, (1, 2)),
    ]
    note = f"Prevalence {data['prevalence']:.3f}; rates at the threshold {data['threshold']:g}."
    yield Section(TITLES["performance"], note, [Beside(parts)])


def _subgroups(report: AuditReport) -> Iterator[Section]:
    data = report.sections.get("subgroups")
    if data is None:
        return
    alarmed = {f.name for f in report.alarms()}
    parts: list[Part] = []
    for measure, axis in (("auroc", "AUROC"), ("calibration", "mean probability minus observed share")):
        # A two-valued attribute is tested once, so its other side shares the alarm.
        rows = [
            ForestRow(
                g["group"],
                _measure(g["estimate"]),
                f"n {g['n']:,}, {g['positives']:,} pos." + (" · too few" if g["skipped"] else ""),
                f"{measure}:{g['group']}" in alarmed,
            )
            for g in data["groups"]
            if g["measure"] == measure
        ]
        overall = data["overall"][measure]["value"] if measure == "auroc" else 0.0
        parts.append(Plot(forest(rows, reference=overall, axis=axis, label=f"{axis} by group")))
    rates = []
    for g in data["groups"]:
        rate, gap = _measure(g["estimate"]), _measure(g["gap"])
        if g["measure"] in ("sensitivity", "specificity") and rate is not None and gap is not None:
            rates.append(Row([g["group"], g["measure"], f"{rate:.3f}", f"{gap.value:+.3f}", f"{g['n']:,}"]))
    if rates:
        table = Table(("group", "rate", "value and interval", "gap", "n"), rates, (3, 4))
        parts.append(Fold("Sensitivity and specificity by group", table))
    dependence = [
        ForestRow(f.name.partition(":")[2], f.measure, f"p {p_value(f.p_adjusted)}", f.alarm)
        for f in report.findings
        if f.name.startswith("dependence:")
    ]
    if dependence:
        parts.append(
            Text(
                "Does the score depend on the group once the label is known? One half means it does not "
                "(equalised odds at every threshold)."
            )
        )
        axis = "chance that a member outscores a non-member of the same label"
        parts.append(Plot(forest(dependence, reference=0.5, axis=axis)))
    yield Section(TITLES["subgroups"], "Each group against everyone else; intervals by bootstrap over patients.", parts)


def _measure(data: dict[str, Any] | None) -> Measure | None:
    return None if data is None else Measure.from_dict(data)


def _shortcuts(report: AuditReport) -> Iterator[Section]:
    data = report.sections.get("shortcuts")
    if data is None:
        return
    rows = [
        ForestRow(PARTS.get(f.name, f.name), f.measure, "tested" if f.p is not None else "described", f.alarm)
        for f in report.findings
        if f.section == "shortcuts" and not f.name.startswith(("occlusion:", "attribute:"))
    ]
    plot = heat(np.asarray(data["occlusion"]), np.asarray(data["mean_image"]), label="loss of AUROC by covered cell")
    what = Text(
        "Loss of AUROC when a cell is covered, over the mean image. Losses inside the anatomy are what one hopes for. "
        "A loss in a corner or at an edge means that something there (a tag, a tube, a frame) is doing the work."
    )
    parts: list[Part] = [
        Plot(forest(rows, reference=0.5, axis="AUROC of the model on this part alone")),
        Beside([Plot(plot), what]),
    ]
    note = f"The model on parts of the image ({data['n']:,} patients, one image each)."
    yield Section(TITLES["shortcuts"], note, parts)


def _robustness(report: AuditReport) -> Iterator[Section]:
    data = report.sections.get("robustness")
    if data is None:
        return
    note = (
        f"Balanced error against severity for {data['n']:,} patients, corruptions of “{data['dataset']}”. Mean "
        f"skill lost {report.values['robustness.skill_loss']:.3f}: 0 nothing, 1 all above chance. "
        f"Green: clean error {data['clean']:.3f}; dashed: chance."
    )
    order = sorted(data["errors"], key=lambda n: -data["skill_loss"][n])
    errors = {n: data["errors"][n] for n in order}
    chart = lines(errors, data["severities"], clean=data["clean"], chance=0.5, label=note)
    yield Section(TITLES["robustness"], note, [Plot(chart)])


def _described(report: AuditReport, section: str, note: str) -> Iterator[Section]:
    found = [f for f in report.findings if f.section == section]
    if found:
        yield Section(TITLES[section], note, [_findings(found, report.level, sections=False)])


def _attributes(report: AuditReport) -> Iterator[Section]:
    rows = [
        ForestRow(f.name.partition(":")[2], f.measure, f"n {f.measure.n:,}")
        for f in report.findings
        if f.name.startswith("attribute:")
    ]
    if rows:
        note = "Attributes read off the embedding by a linear probe, folds by patient. Knowing is no fault; using is."
        yield Section(TITLES["attributes"], note, [Plot(forest(rows, reference=0.5, axis="AUROC of the probe"))])


def _prompts(report: AuditReport) -> Iterator[Section]:
    data = report.sections.get("prompts")
    if not data:
        return
    flips = data["flip_rate"]
    note = (
        f"AUROC of each wording alone; the best one picked on these cases would be overstated by {data['optimism']:.3f}"
        + ("" if flips is None else f", and two wordings disagree on {flips:.1%} of decisions")
        + "."
    )
    rows = [Row([k, number(v)]) for k, v in sorted(data["by_prompt"].items(), key=lambda kv: -kv[1])]
    yield Section(TITLES["prompts"], note, [Table(("wording", "AUROC"), rows, (1,))])


def _leakage(report: AuditReport) -> Iterator[Section]:
    if "leakage" in report.skipped or "leakage.patient" not in report.values:
        return
    kinds = ("patient", "exact", "near")
    counts = ", ".join(f"{int(report.values[f'leakage.{k}'].value)} {k}" for k in kinds)
    rows = [
        Row([x["kind"], x["a"], x["b"], " / ".join(x["parts"]), number(x["similarity"])])
        for x in report.sections.get("leakage", [])[:50]
    ]
    table = Table(("kind", "case", "case", "parts", "similarity"), rows, (4,))
    yield Section(TITLES["leakage"], f"Found: {counts}.", [table] if rows else [])


def _flattered(report: AuditReport) -> str:
    """Says that the model knows patients that are among those audited."""
    known = (report.sections.get("seen") or {}).get("cases") or 0
    if not known or SEEN in (report.sections.get("left_out") or {}):
        return ""
    return f"; the model was trained on pictures of the patients of {known} of these cases, so figures flatter it"
