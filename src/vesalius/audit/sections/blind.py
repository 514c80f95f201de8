"""Section `blind`: how far one gets without the image, or with nothing of it but its brightness."""

from __future__ import annotations

from vesalius.audit import blind
from vesalius.audit.context import Context
from vesalius.audit.shortcuts import brightness_finding

#: Pictures that are made grey at most: enough for an interval of +-0.03.
_MOST = 2000


def run(context: Context) -> None:
    """Describe metadata alone, and the model on pictures of one grey each."""
    s, inputs = context.settings, context.inputs
    if inputs.attributes:
        # DeLong's interval takes cases as independent, so each patient counts once.
        one = [int(i) for i in inputs.one_a_patient(s.seed)]
        some = {k: [v[i] for i in one] for k, v in inputs.attributes.items()}
        found = blind.metadata_baseline(inputs.y[one], context.score[one], some, seed=s.seed, level=s.level)
        context.findings.append(found)
        context.put("blind.metadata_auroc", found.measure)
    else:
        context.skipped["blind: metadata"] = "the cases have no attributes"
    if not inputs.flat:
        context.skipped["blind: brightness"] = "the images are not single pictures"
        return
    index = [int(i) for i in inputs.one_a_patient(s.seed, _MOST)]
    grey = blind.blank([context.picture(i) for i in index], "mean")
    found = brightness_finding(inputs.y[index], context.asker.alone(grey, index), s.level)
    context.findings.append(found)
    context.put("blind.brightness_auroc", found.measure)
