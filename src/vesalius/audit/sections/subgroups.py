"""Section `subgroups`: groups against everyone else, and whether the score depends on the group given the label."""

from __future__ import annotations

from vesalius.audit.context import Context
from vesalius.audit.shortcuts import score_dependence
from vesalius.audit.subgroups import subgroups
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Put the worst group, the largest gap, and test every group."""
    s, inputs = context.settings, context.inputs
    if not inputs.attributes:
        raise BadInputError("the cases have no attributes (or each has one value, or too many)")
    report = subgroups(
        inputs.y, context.score, inputs.attributes, patients=context.clusters, depth=s.depth, threshold=s.threshold,
        measures=("auroc", "sensitivity", "specificity", "calibration"), resamples=s.resamples, seed=s.seed,
        level=s.level,
    )  # fmt: skip
    # AUROC and calibration are tested; rates at one threshold follow from them and are described.
    context.findings += [f for f in report.findings() if f.name.startswith(("auroc:", "calibration:"))]
    one = inputs.one_a_patient(s.seed)
    some = {k: [v[int(i)] for i in one] for k, v in inputs.attributes.items()}
    context.findings += score_dependence(inputs.y[one], context.score[one], some, level=s.level)
    worst = report.worst("auroc")
    if worst is not None and worst.estimate is not None:
        context.put("subgroups.worst_auroc", worst.estimate)
    gaps = [abs(r.gap.value) for r in report.results if r.measure == "auroc" and r.gap is not None]
    if gaps:
        context.put("subgroups.largest_auroc_gap", max(gaps))
    for name, value in report.equity_scaled_auroc.items():
        context.put(f"subgroups.equity_scaled_auroc.{name}", value)
    context.sections["subgroups"] = {**report.to_dict(), "worst": None if worst is None else worst.group}
