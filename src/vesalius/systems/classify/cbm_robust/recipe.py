"""42 Robust concept bottleneck: an image is scored on readable signs, and a linear head sees those scores alone.

The bank of signs is a file, the curated one, or what a language model behind an `openai:` endpoint writes. It is
cleaned by words (`text.concepts`), and that is what keeps a confounder out: the check puts the confounder's concept
back in. The ablation is a linear probe on the image's whole vector. `explain` says which signs made a decision; `edit`
takes signs out.

On phantoms the scorer is a small dual encoder trained on captions that speak of findings and of the marker alike: the
frozen nano hardly sees a marker of this size (AUROC of a probe .72 to .76), so it could not be fooled by one.

*Why claims fail.* Cases confounded like the training set: the probe reads the marker, which is right 19 times in 20,
so nothing that ignores it can come within .05 unless the finding alone is nearly always read; effusions were too faint
for that (.89), and are clearer now (difficulty .05 for .25). Real films (pneumonia, AP or PA view; nano as the
scorer): the claim is false for this scorer. A likely reason, not measured: nano was taught to name the view, and its
cosine with any sign carries some of it, so words keep a confounder out only where the scorer keeps apart what they
mean. Tried without success (development seed 100, worst group .595 against .609, n = 138): the view tied to the other
class, signs of fourteen findings in place of two classes', training on patients that nano never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from vesalius.cases import Case
from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.models.openai_chat import OpenAIChat
from vesalius.systems.classify.cbm_robust.fitting import RATE, bottleneck_step, fit_sparse
from vesalius.systems.classify.cbm_robust.model import ConceptModel, grey
from vesalius.systems.classify.cbm_robust.world import (
    AGREE,
    BARE,
    FINDING,
    MARKER,
    NONE,
    SHARES,
    VIEWS,
    FilmsByView,
    MarkedFilms,
    aligned,
    confounded,
    said_of,
)
from vesalius.systems.frame.budget import Budget, run_training
from vesalius.systems.frame.frozen import frozen, kept, named
from vesalius.systems.frame.inputs import labelled, present
from vesalius.systems.frame.recipe import recipe
from vesalius.systems.frame.scores import Each, Strata
from vesalius.systems.frame.worlds.world import Parts
from vesalius.text.concepts import ConceptBank, ask_for_concepts, clean_bank, curated_bank, drop_alike, read_bank
from vesalius.text.modalities import modality_names
from vesalius.training.two_tower import PictureAligner, train_pictures


@recipe(
    "cbm-robust",
    claim=(
        "A linear head on readable signs keeps its accuracy in the worst group of class and confounder where a linear "
        "probe on the whole vector follows the confounder, and loses it again once the confounder is one of the signs."
    ),
    model=ConceptModel,
    steps=400,
    worlds=(MarkedFilms(), FilmsByView(("nih-cxr14",))),
    options={
        "concepts": "bank of signs: a .json or .txt file, or openai:http://HOST:PORT/v1#MODEL (default: curated)",
        "patches": "yes scores a sign by the cell of the picture that fits it best (default: no)",
        "sparse": "strength of an elastic net that leaves most signs unused, such as 0.01 (default: none)",
    },
)
def cbm_robust(
    cases: Sequence[Case], budget: Budget, job: Job, *, target: str = "", concepts: str = "", patches: str = "no",
    sparse: str = "", bank: ConceptBank | None = None, told: Sequence[Case] = (),
    see: Literal["signs", "vector"] = "signs", also: Sequence[str] = (), standardise: bool = True,
    at_most: int = 0, base: str = "nano",
) -> ConceptModel:  # fmt: skip
    """Score the cases on a bank of signs, and fit the head.

    Args:
        cases: Cases of two or more classes.
        budget: How much the head is trained.
        job: Seed, device, and whether an endpoint may be asked.
        target: Label that is learned; the phantom's finding, else `class`, when empty.
        concepts: Where the bank is; the curated one when empty.
        patches: "yes" or "no": see `options`.
        sparse: Strength of an elastic net, as text; "" for none.
        bank: The bank itself.
        told: Phantom films whose captions teach a scorer; without them the frozen encoder scores.
        see: `vector` lets the head see every coordinate of the image's vector: the ablation.
        also: Signs that are kept although they speak of no class, such as a confounder's.
        standardise: False leaves the cosines as they are.
        at_most: Most steps of the head; 0 for the budget's.
        base: The frozen encoder's name.
    """
    wanted = target or present(cases, FINDING)
    used, y, names = labelled(cases, wanted, "cbm-robust")
    classes = (NONE, wanted) if wanted and set(names) <= {"0", "1"} else names
    modality = used[0].images[0].modality
    clean = _cleaned(bank or _bank(concepts, classes, modality, job), classes, job)
    tower, prefix = frozen(base, job.device), f"{modality_names(modality)[0]} showing "
    if not told:
        clean, alike = drop_alike(clean, tower.embed_text([prefix + p for p in clean.concepts]))
        for phrase, why in alike.items():
            job.note(f"left out {phrase!r}: {why}")
    dim = PictureAligner.DIM if told else tower.dim
    phrases = [*clean.concepts, *also] if see == "signs" else [f"coordinate {i}" for i in range(dim)]
    config = {
        **named(tower, base), "classes": list(names), "prefix": prefix, "concepts": phrases, "dim": dim,
        "patches": _yes(patches), "scorer": "captions" if told else base,
    }  # fmt: skip
    torch.manual_seed(job.seed)
    model = ConceptModel(config, job.device)
    if told:
        _teach(model, told, budget, job)
    with torch.no_grad():
        model.net.texts.copy_(model.text_vectors(phrases) if see == "signs" else torch.eye(dim))
        vectors = model.vectors([c.images[0] for c in used])
        if standardise:
            model.net.standardise(model.net.raw(vectors))
        scores = model.net.scores(vectors)
    if sparse:
        job.note(f"{fit_sparse(model.net, scores, y, _number(sparse))} of {len(phrases)} signs carry weight")
    else:
        short = Budget(min(budget.steps, at_most or budget.steps), budget.seconds, budget.work, budget.resume)
        run_training(model, bottleneck_step(model.net, scores, y), short, job, learning_rate=RATE)
    return model


def _teach(model: ConceptModel, told: Sequence[Case], budget: Budget, job: Job) -> None:
    """Give a model the scorer that captions of phantom films make: of findings' signs, and of the marker."""
    owners = {
        p: k for k, ps in _cleaned(curated_bank((*SHARES, NONE), "DX"), tuple(SHARES), job).classes.items() for p in ps
    }
    phrases = [*owners, MARKER, BARE]

    def train(_: object) -> list[PictureAligner]:
        texts = model.base.embed_text([model.config["prefix"] + p for p in phrases])
        true = np.asarray([said_of(c, phrases, owners) for c in told])
        return [train_pictures(grey([c.images[0] for c in told]), texts, true, budget.steps, job.seed)]

    # Every variant of one check is scored by the same scorer.
    (scorer,) = kept([told[0].images[0]], f"scorer {job.seed} {budget.steps} {len(told)}", train)
    model.net.scorer.load_state_dict(scorer.state_dict())  # type: ignore[union-attr] # added by build()


def _cleaned(bank: ConceptBank, classes: Sequence[str], job: Job) -> ConceptBank:
    clean, dropped = clean_bank(bank, classes)
    for phrase, why in dropped.items():
        job.note(f"left out {phrase!r}: {why}")
    return clean


def _bank(where: str, classes: Sequence[str], modality: str, job: Job) -> ConceptBank:
    if where.startswith("openai:"):
        return ask_for_concepts(OpenAIChat.from_name(where, online=job.online).ask, classes, modality)
    return read_bank(Path(where)) if where else curated_bank(classes, modality)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError("not a number", item=f"sparse={text}", fix="such as sparse=0.01") from None


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise UsageError("neither yes nor no", item=f"patches={text}")
    return text == "yes"


def accuracy(model: ConceptModel, parts: Parts, *, alike: bool = False) -> Strata:
    """Whether each test case is named rightly, by group of class and confounder.

    Args:
        model: The model.
        parts: Cases.
        alike: Only on test cases among which class and confounder agree as often as in training.
    """
    truth = np.asarray(
        [int(c.label(FINDING) == 1 if FINDING in c.labels else c.label("class") != NONE) for c in parts.test]
    )
    mark = np.asarray([confounded(c) for c in parts.test])
    at = aligned(truth, mark, AGREE, parts.rng(43)) if alike else np.arange(len(truth))
    names = list(model.classes)
    positive = names.index("1") if "1" in names else 1 - names.index(NONE)
    right = (model.predict_proba([parts.test[i].images[0] for i in at]).argmax(1) == positive) == (truth[at] == 1)
    return Strata(right, [parts.groups[i] for i in at], [f"{truth[i]} x {mark[i]}" for i in at])


def mean_accuracy(model: ConceptModel, parts: Parts, *, alike: bool = False) -> Each:
    """As `accuracy`, over all groups together."""
    found = accuracy(model, parts, alike=alike)
    return Each(found.values, found.groups)


cbm_robust.compare("accuracy in the worst group, bottleneck - probe on the whole vector", accuracy,
                   against={"see": "vector"}, goal=0.30)  # fmt: skip
for _world, _also in (("phantom", (MARKER,)), ("nih-cxr14", VIEWS)):
    cbm_robust.compare("accuracy in the worst group, bottleneck - bottleneck with the confounder's concept", accuracy,
                       against={"also": _also}, goal=0.15, on=(_world,))  # fmt: skip
cbm_robust.compare("accuracy on cases confounded like the training set, bottleneck - probe", mean_accuracy,
                   given={"alike": True}, against={"see": "vector"}, goal=-0.05)  # fmt: skip
cbm_robust.compare("accuracy after 200 steps, scores standardised - as they are", mean_accuracy,
                   given={"at_most": 200}, against={"standardise": False}, goal=0.05)  # fmt: skip
