"""Section `leakage`: the same patient, file or picture on both sides of a split."""

from __future__ import annotations

from vesalius.audit.context import Context
from vesalius.audit.finding import Finding
from vesalius.audit.leakage import leakage
from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.metrics.measure import Measure


def run(context: Context) -> None:
    """Count each kind of leak; one is an alarm."""
    inputs, train = context.inputs, context.settings.train
    parts: dict[str, list[Case]] = {}
    if train is not None:
        parts = {"train": list(train), "audited": list(inputs.cases)}
    else:
        for case in inputs.cases:
            if case.source.split:
                parts.setdefault(case.source.split, []).append(case)
    if len(parts) < 2:
        raise BadInputError("no training set was given and the cases name no two splits")
    leaks = leakage(parts)
    context.checked.add("leakage")
    for kind in ("patient", "exact", "near"):
        some = [x for x in leaks if x.kind == kind]
        context.put(f"leakage.{kind}", float(len(some)))
        if some:
            text = f"{len(some)} {kind} leaks between parts, for example {some[0].a} and {some[0].b}"
            # A leak is a fact, not a sample: no chance of its arising where there is none.
            context.findings.append(
                Finding("leakage", f"leakage:{kind}", text, Measure(float(len(some)), n=len(inputs)), p=0.0)
            )
    context.sections["leakage"] = [x.to_dict() for x in leaks[:200]]
