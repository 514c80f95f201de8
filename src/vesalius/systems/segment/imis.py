"""49 IMIS-Net: one mask decoder that clicks, boxes, names and its own last mask can steer, corrected where it is wrong.

Ours puts the decoder (`nn.promptable`) on nano's frozen pyramid and trains it by use (`training.interactive`): a first
prompt, then clicks from where mask and target differ. Dense unnamed regions (`sources.pseudo`) are targets like any
other. Ours, not published: maps finer than a sixteenth join the upscaling, one optimiser step takes all rounds, earlier
clicks are kept, names of absent things are answered "not there", and the published unused semantic head is left out.

While this was developed (seed 101, n = 990), a name gave Dice .24 and another name of the same picture .11: far from
the .3 apart that the card asks for. Names are learnt slower than places; drawing named targets three times as often as
unnamed ones moved the difference from .07 to .13. The published weight of the focal loss (20) gave empty masks in so
short a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from vesalius.cases import Box, Case
from vesalius.models.nano.model import Nano
from vesalius.models.promptable import PromptSegmenter
from vesalius.models.protocols import Prompt
from vesalius.nn.promptable import PromptableHead
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.sources.pseudo import granules
from vesalius.systems.frame.claims import paired
from vesalius.systems.frame.inputs import base_embedder, frozen, nano_split, parts, real_set, require_cases
from vesalius.systems.frame.recipe import Claim, Data, Floats, Job, System, SystemModel, run_training
from vesalius.training.interactive import FOCAL, Correction, Targets, dice_by_click, gather, interactive_step

SIDE = 128
STUDIES = ("chest_film", "fundus", "dermoscopy", "ultrasound", "endoscopy", "ct", "brain_mr")
#: Never trained on by name in the check: what unnamed regions are worth is measured on these.
UNSEEN = frozenset({"heart", "optic disc", "polyp", "liver", "ventricles", "suspicious nodule", "simple cyst"})


REAL = ("chase-db1", "hippocampus", "covid-cc-by")
GAIN = "Dice after 4 clicks - after 1"
CORRECTED = "Dice after 4 clicks: trained on error clicks - on clicks anywhere inside"


class ImisModel(SystemModel, PromptSegmenter):
    """A segmenter."""

    system: ClassVar[str] = "imis-bench"
    capabilities: ClassVar[tuple[str, ...]] = ("segment",)
    net: PromptableHead

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base: Nano = base_embedder(config, device)  # type: ignore[assignment] # the one embedder here with a pyramid
        SystemModel.__init__(self, config, device)
        PromptSegmenter.__init__(self, self.base, self.net, config["side"])

    def build(self) -> PromptableHead:
        """The decoder."""
        return PromptableHead(self.config["dim"])

    def predict(self, cases: Sequence[Case]) -> Floats:
        """`(n, 2)` share of the first picture that a box around its middle half gives, and the score."""
        rows = []
        for case in cases:
            image = case.images[0]
            encoded = self.encode(image, 0 if image.kind == "2d" else len(image.pixels()) // 2)
            height, width = encoded.size
            found = self.segment(encoded, Prompt(box=Box(width / 4, height / 4, 3 * width / 4, 3 * height / 4)))
            rows.append([float(found.mask.mean()), found.score])
        return np.asarray(rows, np.float64)


class Imis(System):
    """The recipe."""

    name: ClassVar[str] = "imis-bench"
    claim: ClassVar[str] = (
        "A decoder trained on clicks from where its own mask is wrong, with unnamed regions as targets too, gains from "
        "every click, obeys names, and segments classes that it was never shown."
    )
    model: ClassVar[type[SystemModel]] = ImisModel
    data: ClassVar[tuple[Data, ...]] = ("phantom", "real")

    def example(self, n: int, seed: int) -> list[Case]:
        """Studies of seven kinds with masks of organs and findings."""
        config = PhantomConfig(
            seed=seed, studies=dict.fromkeys(STUDIES, 1.0), size=SIDE, size_3d=64, geometries=("mask",),
            questions=False, degraded=0.0, prevalence_scale=1.5,
        )  # fmt: skip
        return list(Phantom(config).cases(n))

    def train(self, cases: Sequence[Case], job: Job) -> ImisModel:
        """Train the decoder on every mask of the cases, and on unnamed regions."""
        require_cases(cases, self.name)
        targets = gather(cases, frozen("nano", job.device), SIDE, unnamed=granules, slices=2, seed=job.seed)  # type: ignore[arg-type] # the one embedder here with a pyramid
        return self.learn(targets, np.arange(len(targets)), job)

    def learn(
        self, targets: Targets, rows: npt.NDArray[np.int64], job: Job, correction: Correction = "error"
    ) -> ImisModel:
        """As `train`, on some of the targets."""
        config = {
            "base": "nano", "base_fingerprint": frozen("nano", job.device).fingerprint, "dim": 64, "side": SIDE,
        }  # fmt: skip
        torch.manual_seed(job.seed)
        model = ImisModel(config, job.device)
        # Unnamed regions are many; names are what takes longest to learn.
        odds = np.asarray([1.0 if targets.names[i] else 0.3 for i in rows])
        step = interactive_step(
            model.net, targets, rows, batch=24, rounds=2, correction=correction, odds=odds, device=job.device
        )
        run_training(model, step, job, steps=200, learning_rate=6e-3, warmup=10, weights={"focal": FOCAL})
        return model

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Clicks against clicks, names against wrong names, unseen classes with and without unnamed regions."""
        n = 340 if job is None or job.steps is None else 16 * job.steps
        job = Job(seed=seed) if job is None else job
        base: Any = frozen("nano", job.device)
        if data == "real":
            return self._real(folder, base, seed, job)
        part = parts(self.example(n, seed), {"train": 0.65, "test": 0.35}, seed)
        train = gather(part["train"], base, SIDE, unnamed=granules, seed=seed)
        test = gather(part["test"], base, SIDE, seed=seed)
        everything = train.where(lambda i: train.names[i] not in UNSEEN)
        named = train.where(lambda i: train.names[i] not in UNSEEN and train.names[i] != "")
        ours, blind, fewer = (
            self.learn(train, everything, job).net,
            self.learn(train, everything, job, "inside").net,
            self.learn(train, named, job).net,
        )
        seen = test.where(lambda i: test.names[i] not in UNSEEN)
        new = test.where(lambda i: test.names[i] in UNSEEN)
        clicked, other = (dice_by_click(m, test, seen, seed=seed) for m in (ours, blind))
        unseen, without = (dice_by_click(m, test, new, seed=seed) for m in (ours, fewer))
        pairs = _wrong_names(test, seen, np.random.default_rng((seed, 49)))
        rows = np.asarray([i for i, _ in pairs])
        right = dice_by_click(ours, test, rows, first="text", clicks=1)[:, 0]
        wrong = dice_by_click(ours, test, rows, first="text", clicks=1, said=[w for _, w in pairs])[:, 0]
        boxed = dice_by_click(ours, test, seen, first="box", clicks=1)[:, 0]
        details = {f"Dice, click {i + 1}": float(v) for i, v in enumerate(clicked.mean(0))} | {
            "Dice, box": float(boxed.mean()),
            "Dice, name": float(right.mean()),
        }

        def claim(text: str, a: Floats, b: Floats, goal: float, which: npt.NDArray[np.int64]) -> Claim:
            return self._paired(text, a, b, goal, test, which, seed, "phantom", details)

        return (
            claim(GAIN, clicked[:, 3], clicked[:, 0], 0.05, seen),
            claim(CORRECTED, clicked[:, 3], other[:, 3], 0.03, seen),
            claim("Dice from the name: right - wrong name", right, wrong, 0.3, rows),
            claim("Dice after 4 clicks on unseen classes: with unnamed regions - without",
                  unseen[:, 3], without[:, 3], 0.03, new),
        )  # fmt: skip

    def _real(self, folder: Path | None, base: Any, seed: int, job: Job) -> tuple[Claim, ...]:
        """Vessels, hippocampi and lungs of patients that neither nano nor the decoder saw."""
        seen, held = nano_split([c for s in REAL for c in real_set(folder, s)])
        train, test = (gather(cases, base, SIDE, slices=3, seed=seed) for cases in (seen, held))
        rows = np.arange(len(train))
        ours, blind = (self.learn(train, rows, job, c).net for c in ("error", "inside"))
        every = np.arange(len(test))
        clicked, other = (dice_by_click(m, test, every, seed=seed) for m in (ours, blind))
        where = "+".join(REAL)
        return (
            self._paired(GAIN, clicked[:, 3], clicked[:, 0], 0.05, test, every, seed, where),
            self._paired(CORRECTED, clicked[:, 3], other[:, 3], 0.03, test, every, seed, where),
        )

    def _paired(
        self, text: str, a: Floats, b: Floats, goal: float, test: Targets, rows: npt.NDArray[np.int64], seed: int,
        where: str, details: dict[str, float] | None = None,
    ) -> Claim:  # fmt: skip
        groups = [test.groups[test.picture[i]] for i in rows]
        return paired(self.name, text, a, b, goal=goal, seed=seed, data=where, groups=groups, details=details)


def _wrong_names(targets: Targets, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> list[tuple[int, str]]:
    """Targets with the name of another target of their picture."""
    out = []
    for i in rows:
        mates = sorted(
            {targets.names[j] for j in rows if targets.picture[j] == targets.picture[i]} - {targets.names[i]}
        )
        if mates:
            out.append((int(i), str(rng.choice(mates))))
    return out


SYSTEM = Imis()
