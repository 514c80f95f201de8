"""38 MedViTV2: KAN feed-forward and dilated neighbourhood attention in a small classifier (`net`).

Ablations of the same number of weights, trained alike: an MLP for the KAN, no dilation, and the slip of the released
code that reads channels-first maps as channels-last. Pictures are mirrored and nothing else: AugMix explains part of
the published robustness and is left out on purpose.

*Why claims fail.* KAN - MLP on corrupted pictures: no bug was found (bumps, knots, norm and size are as published and
tested by hand), and no learning rate helped (development seeds, severity 4: .73, .78, .78 against .83, .86, .83 at
1e-3, 2e-3, 4e-3). Part is too little training, for KAN learns more slowly (58 steps: .70 against .98 on clean cells).
The rest is probably the layer: a bump is a third of a unit wide and none lies beyond 2, so what a corruption moves out
of their reach is not answered, while a GELU goes on (not measured). Clean phantom cells left no room: every net was
right about 98 in 100; they are more alike now (difficulty .9 for .6). On tissue the intervals were wider than the
goals: there are more test cells now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vesalius.audit.benchmark import suite_of
from vesalius.cases import Case
from vesalius.job import Job
from vesalius.systems.classify.medvitv2.net import Feed, Layout, MedViT
from vesalius.systems.frame.budget import Budget
from vesalius.systems.frame.corrupted_copies import right_on
from vesalius.systems.frame.inputs import labelled, pictures
from vesalius.systems.frame.nets.picture_classifier import PictureModel, Pictures, fit_pictures
from vesalius.systems.frame.recipe import recipe
from vesalius.systems.frame.scores import Each
from vesalius.systems.frame.worlds.cells import cut_out, phantom_cells
from vesalius.systems.frame.worlds.real import Sets
from vesalius.systems.frame.worlds.world import Drawn, Parts
from vesalius.training.augment import FREE

#: Side of the pictures that the laptop size is trained on; the published sizes take 224.
SIDE = 32
BATCH = 32
#: Severities of the corrupted copies.
SEVERITIES = (2, 4)
#: Square of 16 micrometres of tissue.
TISSUE = cut_out(("lymphocyte", "stroma", "tumour_or_epithelial"), side=32, each=700)


def _hard_cells(n: int, seed: int) -> list[Case]:
    """Single blood cells of five kinds, alike enough that no net is nearly right about all of them."""
    return phantom_cells(n, seed, difficulty=0.9)


class MedViTModel(PictureModel):
    """The net."""

    system: ClassVar[str] = "medvitv2"

    def build(self) -> nn.Module:
        """The net of the config's size and parts."""
        return MedViT(len(self.config["classes"]), self.config["size"], **self.config["parts"])


@recipe(
    "medvitv2",
    claim=(
        "Against nets of as many weights, KAN feed-forward is no worse than an MLP on clean and corrupted pictures, "
        "dilation gains on corrupted ones, and reading channels as channels gains three points over the released slip."
    ),
    model=MedViTModel,
    steps=140,
    worlds=(
        Drawn(_hard_cells, n=1500, stratify="class"),
        Sets(("brca-m2c",), pick=lambda c: c, on_nano=False, expand=TISSUE, shares={"train": 0.65, "test": 0.35}),
    ),
    options={"size": "laptop, tiny, small, base or large", "side": "side of the pictures in pixels"},
)
def medvitv2(
    cases: Sequence[Case], budget: Budget, job: Job, *, target: str = "", size: str = "laptop", side: int | str = SIDE,
    feed: Feed = "kan", dilated: bool = True, layout: Layout = "permuted",
) -> MedViTModel:  # fmt: skip
    """Train on the first picture of each case, mirrored where the modality has no sides.

    Args:
        cases: Cases with a class each.
        budget: How much.
        job: Seed and device.
        target: Label that is learned; `class` when empty.
        size: Name in `net.SIZES`.
        side: Side of the pictures; 224 for the published sizes.
        feed: What follows attention in global blocks.
        dilated: Whether every second local block's window is spread.
        layout: `reshaped` is the released slip.
    """
    kept, y, classes = labelled(cases, target, "medvitv2")
    torch.manual_seed(job.seed)
    net = {"feed": feed, "dilated": dilated, "layout": layout}
    model = MedViTModel({"classes": list(classes), "size": size, "side": int(side), "parts": net}, job.device)
    sides = (2, 3) if all(c.images[0].modality in FREE for c in kept) else ()

    def mirror(x: Pictures, _: npt.NDArray[np.int64], __: int, rng: np.random.Generator) -> Pictures:
        return np.flip(x, tuple(axis for axis in sides if rng.random() < 0.5))

    array = pictures((c.images[0] for c in kept), int(side))
    fit_pictures(model, array, y, budget, job, batch=BATCH, change=mirror, learning_rate=2e-3, weight_decay=0.05)
    return model


def accuracy(model: MedViTModel, parts: Parts, *, on: Literal["clean", "corrupted"] = "clean") -> Each:
    """Whether each test cell is named rightly, as it is or as the mean over its corrupted copies."""
    suite = suite_of(parts.test[0].images[0].modality) if on == "corrupted" else ""
    right = right_on(model, parts, SIDE, suite, SEVERITIES)
    worse = [v for (_, severity), v in right.items() if bool(severity) == (on == "corrupted")]
    return Each(np.mean(worse, 0), parts.groups)


for _on, _feed_goal, _dilated_goal in (("corrupted", -0.01, 0.01), ("clean", -0.02, -0.02)):
    medvitv2.compare(f"accuracy on {_on} pictures, KAN - MLP", accuracy, given={"on": _on}, against={"feed": "mlp"},
                     goal=_feed_goal)  # fmt: skip
    medvitv2.compare(f"accuracy on {_on} pictures, dilated attention - undilated", accuracy, given={"on": _on},
                     against={"dilated": False}, goal=_dilated_goal)  # fmt: skip
medvitv2.compare("accuracy on clean pictures, corrected layout - as released", accuracy,
                 against={"layout": "reshaped"}, goal=0.03)  # fmt: skip
