"""14 MedMNIST-C: a classifier through the corruptions of its modality, and training on them.

The protocol over any classifier is `audit.benchmark`. Here is its second half: each picture of a batch is trained on
with one corruption of the list, or none, at a random strength. The ablation is the same net, same batches and steps, on
the pictures as they are.

Where a net knows little (isic2017 at 32 px) or the task is easy (cbc: 0.03 corrupted error without the augmentation),
there is little to gain, and less than 0.05 may be all there is. Tried and left, on seeds that are not reported: busi
(442 pictures, errors near chance) and brca-m2c cells (0.41 to 0.39).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vesalius.audit.benchmark import suite_of
from vesalius.cases import Case
from vesalius.corruptions import augment
from vesalius.metrics.statistics.bootstrap import resample_counts
from vesalius.nn.convnet import ConvNet
from vesalius.systems.evaluate.corrupting import Right, balanced, channels, class_weight, planes, through
from vesalius.systems.frame.claims import paired
from vesalius.systems.frame.inputs import known, labelled, named_class, parts, pictures, real_set
from vesalius.systems.frame.nets.picture_classifier import PictureModel, Pictures, fit_pictures
from vesalius.systems.frame.recipe import Claim, Data, Floats, Job, System, SystemModel
from vesalius.systems.frame.worlds.single_cells import phantom_cells, real_cells

SIDE = 32
STEPS = 400
BATCH = 48
#: Most test pictures; each is read under up to 15 corruptions x 5 severities.
_MOST = 400


class CorruptionModel(PictureModel):
    """A small convolutional net."""

    system: ClassVar[str] = "medmnistc"

    def build(self) -> nn.Module:
        """The net for the config's classes."""
        return ConvNet(len(self.config["classes"]))


class MedMnistC(System):
    """The recipe."""

    name: ClassVar[str] = "medmnistc"
    claim: ClassVar[str] = (
        "Training on the corruptions that belong to a modality lowers the balanced error on corrupted pictures by 0.05 "
        "or more and raises it on clean ones by 0.03 or less."
    )
    model: ClassVar[type[SystemModel]] = CorruptionModel
    data: ClassVar[tuple[Data, ...]] = ("phantom", "real")

    def example(self, n: int, seed: int) -> list[Case]:
        """Single blood cells of five kinds."""
        return phantom_cells(-(-n // 5), seed)[:n]

    def train(self, cases: Sequence[Case], job: Job, targeted: bool = True) -> CorruptionModel:
        """Train on the first picture of each case, with the corruptions of its modality."""
        kept, y, classes = labelled(cases, job.target, self.name)
        array = pictures((c.images[0] for c in kept), SIDE)
        return self.fit(array, y, classes, suite_of(kept[0].images[0].modality) if targeted else "", job)

    def fit(
        self, array: Pictures, y: npt.NDArray[np.int64], classes: Sequence[str], suite: str, job: Job
    ) -> CorruptionModel:
        """As `train`, from pictures; without a suite, on the pictures as they are."""
        torch.manual_seed(job.seed)
        config = {"classes": list(classes), "side": SIDE, "suite": suite}
        model = CorruptionModel(config, job.device)

        def change(x: Pictures, i: npt.NDArray[np.int64], number: int, _: np.random.Generator) -> Pictures:
            flat = planes(x)
            ids = enumerate(i)  # a case may be in a batch twice: its place there tells the draws apart
            return channels([augment(p, suite, seed=job.seed, image_id=f"{at}:{k}", epoch=number)
                             for p, (at, k) in zip(flat, ids, strict=True)])  # fmt: skip

        fit_pictures(
            model, array, y, job, steps=STEPS, batch=BATCH, change=change if suite else None, learning_rate=3e-3,
            weight_decay=0.01,
        )  # fmt: skip
        return model

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Errors on clean and corrupted pictures of new patients, and the same with labels drawn at random."""
        job = Job(seed=seed) if job is None else job
        each = 240 if job.steps is None else 10 * job.steps
        if data == "phantom":
            return self._claims(phantom_cells(each, seed), "phantom", seed, job, control=True)
        skin = [c.replace(labels={"class": named_class(c)}) for c in real_set(folder, "isic2017")]
        return (
            *self._claims(skin, "isic2017", seed, job),
            *self._claims(real_cells(folder, "cbc", each, seed), "cbc", seed, job),
        )

    def _claims(
        self, cases: Sequence[Case], where: str, seed: int, job: Job, control: bool = False
    ) -> tuple[Claim, ...]:
        part = parts(cases, {"train": 0.6, "test": 0.4}, seed, "class")
        train, y, names = labelled(part["train"], "", self.name)
        test, truth = known(part["test"], names)
        test, truth = test[:_MOST], truth[:_MOST]
        suite = suite_of(train[0].images[0].modality)
        array, tested = (pictures((c.images[0] for c in cs), SIDE) for cs in (train, test))
        groups, weight = [c.group for c in test], class_weight(truth)
        right = through(
            {s: self.fit(array, y, names, s, job) for s in (suite, "")}, tested, truth, suite, seed
        )  # fmt: skip
        clean = {s: (1 - r["", 0]) * weight for s, r in right.items()}
        details = {
            f"{'with' if s else 'without'}, {name} {k}": float(((1 - v) * weight).mean())
            for s, r in right.items() for (name, k), v in r.items() if k
        }  # fmt: skip
        claims = [
            paired(self.name, "balanced error on corrupted pictures, with targeted augmentation - without",
                   balanced(right[suite], truth), balanced(right[""], truth), goal=0.05, seed=seed, data=where,
                   groups=groups, higher_is_better=False, details=details),
            paired(self.name, "balanced error on clean pictures, with targeted augmentation - without", clean[suite],
                   clean[""], goal=-0.03, seed=seed, data=where, groups=groups, higher_is_better=False),
            self._order(right[""], truth, groups, where, seed),
        ]  # fmt: skip
        if control:
            # Labels that mean nothing: what looks like a gain here is a leak or a slip in the protocol.
            rng = np.random.default_rng((seed, 14))
            noise, drawn = rng.permutation(y), rng.permutation(truth)
            blind = through(
                {s: self.fit(array, noise, names, s, job) for s in (suite, "")}, tested, drawn, suite, seed, (3,)
            )
            claims.append(_same(self.name, balanced(blind[suite], drawn), balanced(blind[""], drawn), groups, seed))
        return tuple(claims)

    def _order(self, right: Right, y: npt.NDArray[np.int64], groups: Sequence[str], where: str, seed: int) -> Claim:
        """Share of corruptions whose balanced error at severity 5 is at least that at severity 1."""
        names = sorted({name for name, s in right if s})
        worse = np.stack([right[n, 1].astype(float) - right[n, 5] for n in names]) * class_weight(y)
        share = float((worse.mean(1) >= 0).mean())
        codes = np.unique(groups, return_inverse=True)[1]
        drawn = [
            (counts.astype(float) @ worse.T >= 0).mean(1) for counts in resample_counts(len(y), 2000, seed, None, codes)
        ]
        low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
        return Claim(
            self.name, "share of corruptions that hurt as much at severity 5 as at 1, above 0.8", share, 0.8,
            share - 0.8, float(low) - 0.8, float(high) - 0.8, 0.0, len(y), seed, where,
        )  # fmt: skip


def _same(system: str, ours: Floats, baseline: Floats, groups: Sequence[str], seed: int) -> Claim:
    """That two errors differ by less than 0.05 either way: the margin is minus the size of the difference."""
    made = paired(
        system, "random labels: size of the gap, negative", ours, baseline, goal=-0.05, seed=seed, groups=groups
    )
    return replace(made, margin=-abs(made.margin), low=-max(abs(made.low), abs(made.high)), high=0.0)


SYSTEM = MedMnistC()
