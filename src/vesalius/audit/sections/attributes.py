"""Section `attributes`: what a linear probe reads off the embedding."""

from __future__ import annotations

from vesalius.audit.context import Context
from vesalius.audit.shortcuts import attribute_probes
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Describe each attribute's AUROC, folds by patient."""
    s, inputs = context.settings, context.inputs
    if not hasattr(context.model, "embed"):
        raise BadInputError("the model gives no embeddings")
    if not inputs.attributes:
        raise BadInputError("the cases have no attributes")
    # DeLong's interval takes cases as independent, so each patient counts once.
    one = [int(i) for i in inputs.one_a_patient(s.seed)]
    some = {k: [v[i] for i in one] for k, v in inputs.attributes.items()}
    found = attribute_probes(context.vectors()[one], some, seed=s.seed, level=s.level)
    context.findings += found
    for f in found:
        context.put(f"attributes.{f.name.partition(':')[2]}", f.measure)
    context.sections["attributes"] = [f.to_dict() for f in found]
