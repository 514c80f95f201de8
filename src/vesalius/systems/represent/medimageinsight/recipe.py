"""01 MedImageInsight: one embedding for images and short structured text, trained with label-aware contrast (UniCL).

Ours joins a frozen embedder (nano unless told otherwise) with an adapter on either side. The model embeds images and
texts, so every verb that stands on an embedder takes it: index, search with the nearest labelled cases as evidence,
zero-shot `classify`, `fit` with operating points or for a number such as age, and `audit` for fairness.

With one sentence a class UniCL and CLIP have the same gradient (a test shows it): repeated sentences are equal columns.
What UniCL changes is several wordings of one class in a batch, so that is what the check trains on.

*Why claims fail.* Zero-shot, UniCL - CLIP: false at adequate power. Wordings of a class are drawn alike often, so
CLIP's false negatives push each of them away from the class's images equally; at its optimum every true wording of a
batch has the same share, which is UniCL's target up to the temperature, and ranks do not change (reasoned from the
gradient; what was measured is the outcome: development seed 100, .764 against .772, n = 250; reported seeds, an earlier
version, +.004 [-.012, +.020]). Sensitivity on real patients: a
leak. The cut-off was chosen on cases that nano had been trained on, whose votes are surer than a new patient's;
validation cases now are ones that nano was not trained on. The votes themselves were changed after reported seeds had
been seen: with those of the 64 nearest, one seed had no cut-off of the sensitivity asked for; votes of all cases have
no such ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.job import Job
from vesalius.metrics.classification.operating import operating_point
from vesalius.models.zeroshot import zero_shot
from vesalius.systems.frame.budget import Budget, run_training
from vesalius.systems.frame.frozen import frozen, named, vectors
from vesalius.systems.frame.inputs import class_of, labelled, pictures
from vesalius.systems.frame.model import Floats
from vesalius.systems.frame.nets.adapted_embedder import AdaptedModel
from vesalius.systems.frame.recipe import recipe
from vesalius.systems.frame.scores import Each, Ranking
from vesalius.systems.frame.worlds.films import FINDINGS, single_finding_films
from vesalius.systems.frame.worlds.real import Sets
from vesalius.systems.frame.worlds.world import Drawn, Parts
from vesalius.text.prompts import prompt_ensemble
from vesalius.training.two_tower import Targets, alignment_step

#: What counts as positive where a cut-off is chosen.
DISEASE = frozenset({*FINDINGS, "malignant", "melanoma", "pneumonia"})
#: Sensitivity that the cut-off is chosen for on validation cases.
ASKED = 0.90
SHARES = {"train": 0.45, "validation": 0.25, "test": 0.3}


class InsightModel(AdaptedModel):
    """An embedder: the frozen one below it, then the adapters."""

    system: ClassVar[str] = "medimageinsight"


@recipe(
    "medimageinsight",
    claim=(
        "Contrast that counts every wording of a class as a positive (UniCL) classifies better with no labels than "
        "contrast that counts only the drawn one (CLIP), and its vectors give cut-offs that hold on new patients."
    ),
    model=InsightModel,
    steps=400,
    worlds=(
        Drawn(single_finding_films, n=1000, shares=SHARES, stratify="class"),
        Sets(("busi", "isic2017", "nih-cxr14"), shares=SHARES),
    ),
)
def medimageinsight(
    cases: Sequence[Case], budget: Budget, job: Job, *, target: str = "", targets: Targets = "unicl", base: str = "nano"
) -> InsightModel:
    """Train the adapters on cases with one class each; those without one are left out.

    Args:
        cases: Training cases.
        budget: How much.
        job: Seed and device.
        target: Label that names the class; `class` when empty.
        targets: Which pairs of a batch are positives; `clip` is the ablation.
        base: The frozen embedder's name.
    """
    kept, y, classes = labelled(cases, target, "medimageinsight")
    if target and classes == ("0", "1"):  # a finding that is there or not: sentences need words
        classes = (f"no {target}", target)
    below = frozen(base, job.device)
    torch.manual_seed(job.seed)
    model = InsightModel({**named(below, base), "dim": 128, "classes": list(classes)}, job.device)
    owner = [(classes[k], c.images[0].modality) for c, k in zip(kept, y, strict=True)]
    flat = [(key, s) for key in dict.fromkeys(owner) for s in prompt_ensemble(*key, None)]
    true = np.asarray([[key == mine for key, _ in flat] for mine in owner])
    images = vectors([c.images[0] for c in kept], below)
    step = alignment_step(model.net, images, below.embed_text([s for _, s in flat]), true, targets=targets)
    run_training(model, step, budget, job, learning_rate=1e-3)
    return model


def zero_shot_right(model: InsightModel, parts: Parts) -> npt.NDArray[np.bool_]:
    """Whether the class whose prompts are nearest is the true one."""
    names = tuple(model.config["classes"])
    chosen = zero_shot(model, names).predict_vectors(model.embed_kept([c.images[0] for c in parts.test])).argmax(1)
    return np.asarray(np.asarray(names)[chosen] == [class_of(c) for c in parts.test])


def votes(model: InsightModel, parts: Parts, *, see: str = "vectors", part: str = "test") -> Ranking:
    """Share of sick among the training cases, each counted by `exp(20 cos)`.

    Votes of the nearest k alone tie at 0 for every sixth diseased film, and then no cut-off reaches the sensitivity.
    """
    asked: Sequence[Case] = getattr(parts, part)
    known, new = ((model.embed_kept([c.images[0] for c in cs]) if see == "vectors" else _raw(cs))
                  for cs in (parts.train, asked))  # fmt: skip
    weight = np.exp(20 * (new.astype(np.float64) @ known.T))
    score: Floats = (weight @ _sick(parts.train)) / weight.sum(1)
    return Ranking(score, [c.group for c in asked], _sick(asked))


def sensitivity(model: InsightModel, parts: Parts) -> Each:
    """Whether each diseased test case reaches the cut-off that gives the sensitivity asked for on validation cases."""
    chosen, found = votes(model, parts, part="validation"), votes(model, parts)
    try:
        cut = operating_point(chosen.truth, chosen.values, sensitivity=ASKED).threshold
    except BadInputError:  # ties: no cut-off reaches it short of calling every case positive, which is none
        cut = np.inf
    sick = [g for g, ill in zip(found.groups, found.truth, strict=True) if ill]
    return Each(np.asarray(found.values)[found.truth] >= cut, sick)


def _sick(cases: Sequence[Case]) -> npt.NDArray[np.bool_]:
    return np.asarray([class_of(c) in DISEASE for c in cases])


def _raw(cases: Sequence[Case]) -> npt.NDArray[np.float32]:
    """`(n, 1024)` grey pictures of 32 pixels as unit vectors: what neighbours see with no model at all."""
    x = pictures((c.images[0] for c in cases), 32).mean(1).reshape(len(cases), -1).astype(np.float32)
    x -= x.mean(1, keepdims=True)
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6), np.float32)


medimageinsight.compare("zero-shot accuracy, UniCL - CLIP", zero_shot_right, against={"targets": "clip"}, goal=0.05)
medimageinsight.compare("AUROC of neighbours' votes, trained vectors - raw pixels", votes, against={"see": "pixels"},
                        goal=0.05)  # fmt: skip
medimageinsight.compare("sensitivity on new patients of the cut-off chosen for 0.90 - 0.90", sensitivity,
                        against=ASKED, goal=-0.05)  # fmt: skip
