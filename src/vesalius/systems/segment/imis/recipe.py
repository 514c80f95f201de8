"""49 IMIS-Net: one mask decoder that clicks, boxes, names and its own last mask can steer, corrected where it is wrong.

Ours puts the decoder (`nn.promptable`) on nano's frozen pyramid and trains it by use (`training.interactive`): a first
prompt, then clicks from where mask and target differ. Dense unnamed regions (`sources.pseudo`) are targets like any
other. Ours, not published: maps finer than a sixteenth join the upscaling, one optimiser step takes all rounds, earlier
clicks are kept, names of absent things are answered "not there", and the published unused semantic head is left out.
The published weight of the focal loss (20) gave empty masks in so short a training; it is 2.

*Why claims fail.* Right - wrong name (.21 against .10, goal .3 apart) has three causes, of which the first two are
read off the task and the last was tried. The score: a wrong name was
that of any other target of the picture, also of one that lies over it (a lung's, for what is in the lung), whose mask
is not wrong; it is now one of another place. The task: three of seven kinds of study show one named thing only, which
cost training and gave no pair; four are left. And too little training: names are learnt slower than places (drawing
named targets three times as often moved the difference from .07 to .13 on development seed 101, n = 990), and 200
steps are few. Error clicks - clicks inside on real pictures: a gain of .026 [.008, .044] below the goal of .03, n =
120.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from vesalius.cases import Case
from vesalius.job import Job
from vesalius.models.promptable import PromptSegmenter
from vesalius.nn.promptable import PromptableHead
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.sources.pseudo import granules
from vesalius.systems.frame.budget import Budget, run_training
from vesalius.systems.frame.frozen import frozen, kept, named, tower_of
from vesalius.systems.frame.model import SystemModel
from vesalius.systems.frame.recipe import recipe
from vesalius.systems.frame.scores import Each
from vesalius.systems.frame.worlds.real import Sets
from vesalius.systems.frame.worlds.world import Drawn, Parts
from vesalius.training.interactive import FOCAL, Correction, Targets, dice_by_click, gather, interactive_step

SIDE = 128
STUDIES = ("chest_film", "fundus", "ct", "brain_mr")
#: Never trained on by name in the check: what unnamed regions are worth is measured on these.
UNSEEN = frozenset({"heart", "optic disc", "liver", "ventricles"})
Which = Literal["seen", "unseen"]


class ImisModel(SystemModel, PromptSegmenter):
    """A segmenter."""

    system: ClassVar[str] = "imis-bench"
    capabilities: ClassVar[tuple[str, ...]] = ("segment",)
    net: PromptableHead

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base = tower_of(config, device)
        SystemModel.__init__(self, config, device)
        PromptSegmenter.__init__(self, self.base, self.net, config["side"])

    def build(self) -> PromptableHead:
        """The decoder."""
        return PromptableHead(self.config["dim"])


def masked_studies(n: int, seed: int) -> list[Case]:
    """Studies of four kinds, whose pictures show several things with a name, with masks of organs and findings."""
    config = PhantomConfig(
        seed=seed, studies=dict.fromkeys(STUDIES, 1.0), size=SIDE, size_3d=64, geometries=("mask",),
        questions=False, degraded=0.0, prevalence_scale=1.5,
    )  # fmt: skip
    return list(Phantom(config).cases(n))


def targets_of(cases: Sequence[Case], base: Any, seed: int, unnamed: bool) -> Targets:
    """Maps and masks of cases; computed once in a process."""
    what = f"targets {base.fingerprint} {seed} {unnamed} {hash(tuple(c.id for c in cases))}"
    anchor = next(c.images[0] for c in cases if c.images)
    return kept([anchor], what, lambda _: [
        gather(cases, base, SIDE, unnamed=granules if unnamed else None, slices=3, seed=seed)
    ])[0]  # fmt: skip


@recipe(
    "imis-bench",
    claim=(
        "A decoder trained on clicks from where its own mask is wrong, with unnamed regions as targets too, gains from "
        "every click, obeys names, and segments classes that it was never shown."
    ),
    model=ImisModel,
    steps=200,
    worlds=(
        Drawn(masked_studies, n=260, shares={"train": 0.65, "test": 0.35}),
        Sets(("chase-db1", "hippocampus", "covid-cc-by"), pick=lambda c: c if c.images else None, stratify=None),
    ),
)
def imis(
    cases: Sequence[Case], budget: Budget, job: Job, *, correction: Correction = "error", unnamed: bool = True,
    without: frozenset[str] = frozenset(), base: str = "nano",
) -> ImisModel:  # fmt: skip
    """Train the decoder on every mask of the cases, and on unnamed regions.

    Args:
        cases: Cases with masks.
        budget: How much.
        job: Seed and device.
        correction: Where corrective clicks fall; `inside` is the ablation.
        unnamed: Whether regions that nobody named are targets too.
        without: Names that are never trained on.
        base: The frozen tower's name.
    """
    tower: Any = frozen(base, job.device)
    targets = targets_of(cases, tower, job.seed, True)
    rows = targets.where(lambda i: targets.names[i] not in without and (unnamed or targets.names[i] != ""))
    torch.manual_seed(job.seed)
    model = ImisModel({**named(tower, base), "dim": 64, "side": SIDE}, job.device)
    # Unnamed regions are many; names are what takes longest to learn.
    odds = np.asarray([1.0 if targets.names[i] else 0.3 for i in rows])
    step = interactive_step(
        model.net, targets, rows, batch=24, rounds=2, correction=correction, odds=odds, device=job.device
    )
    run_training(model, step, budget, job, learning_rate=6e-3, warmup=10, weights={"focal": FOCAL})
    return model


def dice(model: ImisModel, parts: Parts, *, clicks: int = 4, of: Which = "seen") -> Each:
    """Dice of each target after so many clicks, the later ones where the mask is wrong."""
    test = targets_of(parts.test, model.base, parts.seed, False)
    rows = test.where(lambda i: (test.names[i] in UNSEEN) == (of == "unseen"))
    every = parts.once(
        ("clicks", model.fingerprint, of), lambda: dice_by_click(model.net, test, rows, clicks=4, seed=parts.seed)
    )
    return Each(every[:, clicks - 1], [test.groups[test.picture[i]] for i in rows])


def dice_by_name(model: ImisModel, parts: Parts, *, say: Literal["own", "other"] = "own") -> Each:
    """Dice from a name alone: the target's own, or that of another target of its picture."""
    test = targets_of(parts.test, model.base, parts.seed, False)
    seen = test.where(lambda i: test.names[i] not in UNSEEN)
    pairs = wrong_names(test, seen, parts.rng(49))
    rows = np.asarray([i for i, _ in pairs])
    said = None if say == "own" else [w for _, w in pairs]
    found = dice_by_click(model.net, test, rows, first="text", clicks=1, said=said)[:, 0]
    return Each(found, [test.groups[test.picture[i]] for i in rows])


def wrong_names(targets: Targets, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> list[tuple[int, str]]:
    """Targets with the name of another target of their picture, elsewhere in it.

    A name of what lies over the target (a lung's, for what is in the lung) is not wrong enough to tell anything.
    """
    out = []
    for i in rows:
        mates = sorted(
            {targets.names[j] for j in rows if targets.picture[j] == targets.picture[i] and _apart(targets, i, j)}
            - {targets.names[i]}
        )
        if mates:
            out.append((int(i), str(rng.choice(mates))))
    return out


def _apart(targets: Targets, i: np.int64, j: np.int64) -> bool:
    a, b = targets.masks[i], targets.masks[j]
    return bool((a & b).sum() < 0.1 * min(a.sum(), b.sum()))


_CHECKED = {"without": UNSEEN}
imis.compare("Dice after 4 clicks - after 1", dice, given=_CHECKED, against={"clicks": 1}, goal=0.05)
imis.compare("Dice after 4 clicks: trained on error clicks - on clicks anywhere inside", dice, given=_CHECKED,
             against={"correction": "inside"}, goal=0.03)  # fmt: skip
imis.compare("Dice from the name: right - wrong name", dice_by_name, given=_CHECKED, against={"say": "other"},
             goal=0.3, on=("phantom",))  # fmt: skip
imis.compare("Dice after 4 clicks on unseen classes: with unnamed regions - without", dice,
             given={**_CHECKED, "of": "unseen"}, against={"unnamed": False}, goal=0.03, on=("phantom",))  # fmt: skip
