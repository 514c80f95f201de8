"""Section `robustness`: balanced error under the corruptions of the modality."""

from __future__ import annotations

from vesalius.audit.context import Context
from vesalius.audit.robustness import robustness
from vesalius.corruptions import datasets, registry
from vesalius.errors import BadInputError


def run(context: Context) -> None:
    """Put the skill lost, over all and by corruption."""
    s, inputs = context.settings, context.inputs
    if not inputs.flat:
        raise BadInputError("the images are not single pictures")
    index = [int(i) for i in inputs.one_a_patient(s.seed, s.most_pictures)]
    pictures = [context.picture(i) for i in index]
    dataset, chosen = _chosen(context)
    if dataset == "default" and all(p.ndim == 2 or p.shape[2] == 1 for p in pictures):
        chosen = tuple(n for n in chosen if n != "saturate")  # grey has no colour to strengthen
    result = robustness(
        pictures, inputs.y[index], lambda arrays: context.asker.changed(arrays, index), chosen, dataset=dataset,
        task="binary", threshold=s.threshold, severities=s.severities,
        image_ids=[inputs.cases[i].id for i in index], resamples=min(s.resamples, 1000), level=s.level, seed=s.seed,
        progress=context.say,
    )  # fmt: skip
    context.put("robustness.skill_loss", result.mean_skill_loss)
    context.put("robustness.clean_error", result.clean)
    for name, value in result.skill_loss.items():
        context.put(f"robustness.skill_loss.{name}", value)
    context.sections["robustness"] = {**result.to_dict(), "dataset": dataset, "severities": list(s.severities)}


def _chosen(context: Context) -> tuple[str, tuple[str, ...]]:
    """(whose severities, which corruptions)."""
    asked = context.settings.corruptions
    if asked is None:
        dataset = context.inputs.modality if context.inputs.modality in datasets() else "default"
        return dataset, registry(dataset)
    if isinstance(asked, str):
        return asked, registry(asked)
    return "default", tuple(asked)
