"""Section `prompts`: the same cases under each wording alone."""

from __future__ import annotations

from vesalius.audit import words
from vesalius.audit.context import Context
from vesalius.audit.finding import Finding
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Describe how far apart the wordings are."""
    s, zero = context.settings, context.zero_shot()
    if zero is None:
        raise BadInputError("the model is not made of sentences")
    found = words.single_prompts(
        context.inputs.y, context.vectors(), zero, context.asker.column, threshold=s.threshold,
        patients=context.clusters, seed=s.seed, resamples=min(s.resamples, 1000), level=s.level,
    )  # fmt: skip
    context.put("prompts.spread", found.spread)
    context.put("prompts.worst_auroc", found.by_prompt[found.worst])
    context.put("prompts.optimism", found.optimism)
    if found.flip_rate is not None:
        context.put("prompts.flip_rate", found.flip_rate)
    text = (
        f'{len(found.by_prompt)} wordings give AUROC {found.by_prompt[found.worst]:.3f} ("{found.worst}") to '
        f'{found.by_prompt[found.best]:.3f} ("{found.best}")'
    )
    context.findings.append(Finding("prompts", "prompts:spread", text, found.spread))
    context.sections["prompts"] = found.to_dict()
