"""Section `pairs`: two patients alike in all but the label; and, for a dual encoder, two findings of one image."""

from __future__ import annotations

import numpy as np

from vesalius.audit import words
from vesalius.audit.context import Context
from vesalius.audit.finding import Finding
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Describe both kinds of pair by the published scores and the corrected one."""
    s, inputs = context.settings, context.inputs
    pairs = words.matched_pairs(inputs.y, inputs.attributes, inputs.patients, s.seed)
    result = words.score_pairs(pairs, context.score, s.threshold)
    best = result.corrected
    context.put("pairs.set_accuracy", result.set_accuracy)
    context.put("pairs.discrimination", best)
    context.put("pairs.confusion", result.confusion_all)
    alike = float(np.mean([len(p.alike) for p in pairs]))
    likeness = f" alike in {alike:.1f} of {len(inputs.attributes)} attributes on average" if inputs.attributes else ""
    text = (
        f"of {result.n} pairs of patients{likeness}, {result.set_accuracy.value:.1%} have "
        f"both answers right (chance 25 %), {result.confusion_all:.1%} get one answer twice; "
        f"discrimination {best.value:.3f}"
    )
    context.findings.append(Finding("pairs", "pairs:matched", text, best))
    context.sections["pairs"] = {"matched": result.to_dict()}
    try:
        _asked(context)
    except BadInputError as error:
        context.skipped["pairs: labels asked about"] = str(error).removesuffix(".")


def _asked(context: Context) -> None:
    zero = context.zero_shot()
    if zero is None:
        raise BadInputError("the model is not made of sentences, so it knows one label only")
    asked = words.ask_labels(context.inputs.cases, context.vectors(), zero.embedder, context.settings.seed)
    context.sections["pairs"]["asked"] = asked.to_dict()
    corrected = asked.corrected_overall
    if corrected is None:
        return
    context.put("pairs.asked_accuracy", asked.published_overall)
    context.put("pairs.asked_discrimination", corrected)
    text = (
        f"asked about a finding that is there and one that is not: both right on {asked.published_overall:.1%} of "
        f"{corrected.n} images (a coin 25 %); discrimination {corrected.value:.3f}"
    )
    context.findings.append(Finding("pairs", "pairs:asked", text, corrected))
