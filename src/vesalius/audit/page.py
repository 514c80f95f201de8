"""The audit as one HTML page: what to worry about first, then each section with its plot and its numbers."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vesalius.render.svg import ForestRow, curve, forest, heat, lines

if TYPE_CHECKING:
    from vesalius.audit.finding import Finding
    from vesalius.audit.report import AuditReport

__all__ = ["page"]

STYLE = """
:root { --ink:#1d2430; --soft:#5b6676; --line:#d8dde5; --paper:#ffffff; --panel:#f6f7f9; --blue:#1f5fa8; --red:#b3261e;
  --green:#1e6b3a; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ee; --soft:#a3adbb; --line:#39414d; --paper:#14181e;
  --panel:#1c2129; --blue:#7fb2ef; --red:#ff8a80; --green:#7bd49b; } }
* { box-sizing:border-box } body { margin:0; background:var(--paper); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif } main { max-width:900px; margin:0 auto;
  padding:28px 20px 60px } h1 { font-size:26px; margin:0 0 4px } h2 { font-size:19px; margin:36px 0 8px;
  padding-top:14px; border-top:1px solid var(--line) } p { margin:6px 0 10px } .soft { color:var(--soft) }
.verdict { padding:12px 16px; border-radius:8px; background:var(--panel); border-left:5px solid var(--green);
  margin:16px 0 } .verdict.bad { border-left-color:var(--red) } .verdict strong { font-size:17px }
.cards { display:flex; flex-wrap:wrap; gap:10px; margin:14px 0 } .card { background:var(--panel); border-radius:8px;
  padding:9px 13px; min-width:118px } .card b { display:block; font-size:20px; font-variant-numeric:tabular-nums }
.card span { font-size:12px; color:var(--soft) } table { border-collapse:collapse; width:100%; font-size:13.5px;
  font-variant-numeric:tabular-nums } th,td { text-align:left; padding:5px 8px; border-bottom:1px solid var(--line);
  vertical-align:top } th { color:var(--soft); font-weight:600 } td.n,th.n { text-align:right; white-space:nowrap }
.alarm-row td { color:var(--red); font-weight:600 } .scroll { overflow-x:auto } .two { display:flex; flex-wrap:wrap;
  gap:26px; align-items:flex-start } details { margin:10px 0 } summary { cursor:pointer; color:var(--blue) }
svg { max-width:100%; height:auto; display:block } svg text { fill:var(--ink); font:12.5px system-ui,sans-serif }
svg text.small { font-size:11.5px; fill:var(--soft) } svg text.tiny { font-size:10px; fill:var(--soft) }
svg text.bold { font-weight:700; fill:var(--red) } svg text.onpicture { fill:#fff; font-weight:700; font-size:11px;
  paint-order:stroke; stroke:#000; stroke-width:2.5px } svg .grid { stroke:var(--line) } svg .frame { fill:none;
  stroke:var(--line) } svg .reference { stroke:var(--soft); stroke-dasharray:4 4; stroke-width:1.3 }
svg .clean { stroke:var(--green); stroke-width:1.2 } svg .curve { fill:none; stroke:var(--blue); stroke-width:2 }
svg line.mark { stroke:var(--blue); stroke-width:2 } svg circle.mark { fill:var(--blue) }
svg line.alarm { stroke:var(--red); stroke-width:2.5 } svg circle.alarm { fill:var(--red) }
svg .cell { fill:#e0301e; stroke:rgba(255,255,255,.18) } code { font-size:12.5px; overflow-wrap:anywhere }
"""

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


def page(report: AuditReport) -> str:
    """The whole page as text."""
    parts = [_head(report), _verdict(report), _cards(report), _gate(report), _alarms(report)]
    parts += [
        _performance(report),
        _subgroups(report),
        _shortcuts(report),
        _robustness(report),
        _plain(report, "blind", "How far one gets without looking. Values near the model's own are a warning."),
        _attributes(report),
        _plain(report, "pairs", "Only a model that looks gets both of a pair right; discrimination 0 is not looking."),
        _prompts(report),
        _plain(
            report,
            "injection",
            "How far a class name on the picture moves the answer, beyond its own letters shuffled.",
        ),
        _leakage(report),
        _skipped(report),
        _all_findings(report),
        _foot(report),
    ]
    title = _e(f"Audit of {report.model}: {report.target}")
    body = "\n".join(p for p in parts if p)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" '
        f"content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _e(value: object) -> str:
    return html.escape(str(value), quote=True)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None or low != low else f"[{low:.3f}, {high:.3f}]"


def _table(head: Sequence[str], rows: Iterable[tuple[Sequence[str], bool]], numeric: Sequence[int] = ()) -> str:
    cells = "".join(f'<th class="n">{_e(h)}</th>' if i in numeric else f"<th>{_e(h)}</th>" for i, h in enumerate(head))
    body = []
    for row, alarm in rows:
        tds = "".join(f'<td class="n">{_e(c)}</td>' if i in numeric else f"<td>{_e(c)}</td>" for i, c in enumerate(row))
        body.append(f'<tr class="alarm-row">{tds}</tr>' if alarm else f"<tr>{tds}</tr>")
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(body)}</table></div>'


def _head(report: AuditReport) -> str:
    data = f" on {_e(report.data)}" if report.data else ""
    return (
        f"<h1>Audit: {_e(report.target)}</h1><p class='soft'>{_e(report.model)}{data} · {report.n:,} cases, "
        f"{report.positives:,} positive, {report.patients:,} patients</p>"
    )


def _verdict(report: AuditReport) -> str:
    alarms = report.alarms()
    tested = sum(f.p is not None for f in report.findings)
    if alarms:
        what = f"{len(alarms)} alarm{'s' if len(alarms) > 1 else ''} in {tested} tests"
    else:
        what = f"No alarm in {tested} tests"
    gate = ""
    if report.gate:
        failed = sum(not r.passed for r in report.gate)
        gate = " · gate met" if report.passed else f" · gate not met ({failed} of {len(report.gate)} limits)"
    bad = " bad" if alarms or not report.passed else ""
    return (
        f'<div class="verdict{bad}"><strong>{what}{gate}</strong><p>The chance of any alarm where nothing is wrong '
        f"is at most {report.alpha:.0%}: p-values are corrected over all tests of this page (Holm). No alarm does not "
        f"mean no fault: small groups and small sets hide large gaps, as the intervals show.</p></div>"
    )


def _cards(report: AuditReport) -> str:
    wanted = (
        ("performance.auroc", "AUROC"),
        ("subgroups.worst_auroc", "AUROC of the worst group"),
        ("shortcuts.border_auroc", "AUROC from the border alone"),
        ("robustness.skill_loss", "skill lost to corruptions"),
        ("blind.metadata_auroc", "AUROC of metadata alone"),
        ("performance.ece", "calibration error (ECE)"),
    )
    cards = []
    for key, label in wanted:
        if key in report.values:
            value, low, high = report.values[key]
            cards.append(
                f'<div class="card"><b>{_number(value)}</b><span>{_e(label)}<br>'
                f"{_range(low, high) or '&nbsp;'}</span></div>"
            )
    return f'<div class="cards">{"".join(cards)}</div>'


def _gate(report: AuditReport) -> str:
    if not report.gate:
        return ""
    rows = [
        (
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
    return "<h2>Gate</h2>" + _table(("value", "uses", "at least", "at most", "result", ""), rows)


def _alarms(report: AuditReport) -> str:
    alarms = sorted(report.alarms(), key=lambda f: (f.p_adjusted or 0.0, -abs(f.estimate - f.null)))
    if not alarms:
        return ""
    return "<h2>Alarms</h2>" + _findings_table(alarms, report.level)


def _findings_table(findings: Sequence[Finding], level: float, *, sections: bool = True) -> str:
    """Findings in rows; columns that would be empty or say one thing throughout are left out."""
    tested = any(f.p is not None for f in findings)
    head = [*(["section"] if sections else []), "finding", "value", _interval(level), "n"]
    rows = []
    for f in findings:
        row = [f.section] if sections else []
        row += [f.text, _number(f.estimate), _range(f.interval.low, f.interval.high) if f.interval else "", f"{f.n:,}"]
        rows.append((row + ([_p(f.p_adjusted)] if tested else []), f.alarm))
    first = 2 if sections else 1
    return _table([*head, *(["p (corrected)"] if tested else [])], rows, range(first, first + 4))


def _interval(level: float) -> str:
    return f"{100 * level:g} % interval"


def _title(name: str, note: str) -> str:
    return f"<h2>{_e(TITLES[name])}</h2><p class='soft'>{_e(note)}</p>"


def _performance(report: AuditReport) -> str:
    data = report.sections.get("performance")
    if data is None:
        return ""
    roc = list(zip([0.0, *data["roc"]["fpr"]], [0.0, *data["roc"]["tpr"]], strict=True))
    reliability = data["reliability"]
    points = list(zip(reliability["predicted"], reliability["observed"], strict=True))
    rows = [
        ([label, _number(report.values[f"performance.{n}"][0]), _range(*report.values[f"performance.{n}"][1:])], False)
        for n, label in MEASURE_NAMES.items()
        if f"performance.{n}" in report.values
    ]
    return (
        _title("performance", f"Prevalence {data['prevalence']:.3f}; rates at the threshold {data['threshold']:g}.")
        + '<div class="two">'
        + curve({"roc": roc}, x="1 - specificity", y="sensitivity", label="ROC curve")
        + curve({"r": points}, x="stated probability", y="observed share", dots=True, label="reliability")
        + f"<div>{_table(('measure', 'value', _interval(report.level)), rows, (1, 2))}</div></div>"
    )


def _subgroups(report: AuditReport) -> str:
    data = report.sections.get("subgroups")
    if data is None:
        return ""
    alarmed = {f.name for f in report.alarms()}
    out = [_title("subgroups", "Each group against everyone else; intervals by bootstrap over patients.")]
    for measure, axis in (("auroc", "AUROC"), ("calibration", "mean probability minus observed share")):
        groups = [g for g in data["groups"] if g["measure"] == measure]
        # A two-valued attribute is tested once, so its other side shares the alarm.
        rows = [
            ForestRow(
                g["group"],
                g["estimate"],
                None if g["interval"] is None else g["interval"]["low"],
                None if g["interval"] is None else g["interval"]["high"],
                f"n {g['n']:,}, {g['positives']:,} pos." + (" · too few" if g["skipped"] else ""),
                f"{measure}:{g['group']}" in alarmed,
            )
            for g in groups
        ]
        overall = data["overall"][measure]["estimate"] if measure == "auroc" else 0.0
        out.append(forest(rows, reference=overall, axis=axis, label=f"{axis} by group"))
    rates = []
    for g in data["groups"]:
        if g["measure"] in ("sensitivity", "specificity") and g["estimate"] is not None:
            value = f"{_number(g['estimate'])} {_range(g['interval']['low'], g['interval']['high'])}"
            rates.append(([g["group"], g["measure"], value, f"{g['gap']:+.3f}", f"{g['n']:,}"], False))
    if rates:
        table = _table(("group", "rate", "value and interval", "gap", "n"), rates, (3, 4))
        out.append(f"<details><summary>Sensitivity and specificity by group</summary>{table}</details>")
    dependence = [f for f in report.findings if f.name.startswith("dependence:")]
    if dependence:
        rows2 = [
            ForestRow(
                f.name.partition(":")[2],
                f.estimate,
                f.interval.low if f.interval else None,
                f.interval.high if f.interval else None,
                f"p {_p(f.p_adjusted)}",
                f.alarm,
            )
            for f in dependence
        ]
        out.append(
            "<p>Does the score depend on the group once the label is known? One half means it does not "
            "(equalised odds at every threshold).</p>"
        )
        out.append(forest(rows2, reference=0.5, axis="chance that a member outscores a non-member of the same label"))
    return "".join(out)


def _shortcuts(report: AuditReport) -> str:
    data = report.sections.get("shortcuts")
    if data is None:
        return ""
    rows = [
        ForestRow(
            PARTS.get(f.name, f.name),
            f.estimate,
            f.interval.low if f.interval else None,
            f.interval.high if f.interval else None,
            "tested" if f.p is not None else "described",
            f.alarm,
        )
        for f in report.findings
        if f.section == "shortcuts" and not f.name.startswith(("occlusion:", "attribute:"))
    ]
    plot = heat(np.asarray(data["occlusion"]), np.asarray(data["mean_image"]), label="loss of AUROC by covered cell")
    return (
        _title("shortcuts", f"The model on parts of the image ({data['n']:,} patients, one image each).")
        + forest(rows, reference=0.5, axis="AUROC of the model on this part alone")
        + f'<div class="two"><div>{plot}</div><div style="max-width:420px"><p>'
        "Loss of AUROC when a cell is covered, "
        "over the mean image. Losses inside the anatomy are what one hopes for. A loss in a corner or at an edge means "
        "that something there (a tag, a tube, a frame) is doing the work.</p></div></div>"
    )


def _robustness(report: AuditReport) -> str:
    data = report.sections.get("robustness")
    if data is None:
        return ""
    value, low, high = report.values["robustness.skill_loss"]
    note = (
        f"Balanced error against severity for {data['n']:,} patients, corruptions of “{data['dataset']}”. Mean "
        f"skill lost {value:.3f} {_range(low, high)}: 0 nothing, 1 all above chance. "
        f"Green: clean error {data['clean']:.3f}; dashed: chance."
    )
    order = sorted(data["errors"], key=lambda n: -data["skill_loss"][n])
    chart = lines(
        {n: data["errors"][n] for n in order}, data["severities"], clean=data["clean"], chance=0.5, label=note
    )
    return _title("robustness", note) + chart


def _plain(report: AuditReport, section: str, note: str) -> str:
    found = [f for f in report.findings if f.section == section]
    return _title(section, note) + _findings_table(found, report.level, sections=False) if found else ""


def _attributes(report: AuditReport) -> str:
    if not report.sections.get("attributes"):
        return ""
    rows = [
        ForestRow(
            f["name"].partition(":")[2], f["estimate"], f["interval"]["low"], f["interval"]["high"], f"n {f['n']:,}"
        )
        for f in report.sections["attributes"]
        if f["interval"]
    ]
    note = "Attributes read off the embedding by a linear probe, folds by patient. Knowing is no fault; using is."
    return _title("attributes", note) + forest(rows, reference=0.5, axis="AUROC of the probe")


def _prompts(report: AuditReport) -> str:
    data = report.sections.get("prompts")
    if not data:
        return ""
    flips = data["flip_rate"]
    note = (
        f"AUROC of each wording alone; the best one picked on these cases would be overstated by {data['optimism']:.3f}"
        + ("" if flips is None else f", and two wordings disagree on {flips:.1%} of decisions")
        + "."
    )
    rows = [([k, _number(v)], False) for k, v in sorted(data["by_prompt"].items(), key=lambda kv: -kv[1])]
    return _title("prompts", note) + _table(("wording", "AUROC"), rows, (1,))


def _leakage(report: AuditReport) -> str:
    if "leakage" in report.skipped or "leakage.patient" not in report.values:
        return ""
    counts = ", ".join(f"{int(report.values[f'leakage.{k}'][0])} {k}" for k in ("patient", "exact", "near"))
    rows = [
        ([x["kind"], x["a"], x["b"], " / ".join(x["parts"]), _number(x["similarity"])], False)
        for x in report.sections.get("leakage", [])[:50]
    ]
    table = _table(("kind", "case", "case", "parts", "similarity"), rows, (4,)) if rows else ""
    return _title("leakage", f"Found: {counts}.") + table


def _skipped(report: AuditReport) -> str:
    if not report.skipped:
        return ""
    rows = [([name, why], False) for name, why in report.skipped.items()]
    return "<h2>Not run</h2>" + _table(("section", "why"), rows)


def _all_findings(report: AuditReport) -> str:
    table = _findings_table(report.findings, report.level)
    return f"<h2>Everything measured</h2><details><summary>{len(report.findings)} findings</summary>{table}</details>"


def _foot(report: AuditReport) -> str:
    left = report.sections.get("left_out") or {}
    rest = "; left out: " + ", ".join(f"{v} ({k})" for k, v in left.items()) if left else ""
    return (
        f"<p class='soft' style='margin-top:34px'>Seed {report.seed}, {report.seconds:.1f} s{_e(rest)}. "
        f"Fingerprint <code>{_e(report.fingerprint)}</code>. Research software, not a medical device.</p>"
    )
