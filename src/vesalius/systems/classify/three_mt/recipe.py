"""62 3MT: an image and a table through a cascade of cross-attention, trained with inputs going missing.

A missing input's stage is skipped (`net`), its loss is masked, nothing is imputed; with nothing at all the answer is
the prevalence. Ablations: a missing input is zeros that are read like any other; that net trained on complete cases
only, which is what one does without this; the cascade without the answers of its inner stages.

*Why claims fail.* Skipping - reading zeros, both with dropout: false at adequate power (three seeds, an earlier
version: -.005 [-.014, +.005]); a net that is shown zeros in training learns to read nothing off them. Inner answers:
no room. With inputs dropped in training the table's answer is the final one in every case whose picture was dropped,
so it has its loss already; where nothing is dropped the inner answers are all that teaches it, and a line now compares
that. Stages swapped: a net that never ran the other order cannot be asked to; that line's net draws the order in
training. Without image, 3MT against the zero-filled net of complete cases: the margin is what that net makes of a
black picture, .03 to .14 by seed. Clearer findings (difficulty .25) and an order drawn in training for every line were
tried on development seed 100 and left: the margin was .069 [.035, .104] without image, and with both 3MT lost .049
[.019, .080] (n = 800).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.cases import Case
from vesalius.job import Job
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems.classify.three_mt.dropout import modality_dropout
from vesalius.systems.classify.three_mt.model import SIDE, Arrays, ThreeMTModel, arrays_of, number
from vesalius.systems.frame.budget import Budget, run_training
from vesalius.systems.frame.inputs import labelled, present
from vesalius.systems.frame.recipe import recipe
from vesalius.systems.frame.scores import Each, Ranking
from vesalius.systems.frame.worlds.world import Drawn, Parts

FINDING = "pleural effusion"
TABLE = ("age", "ehr_bmi", "ehr_systolic_bp", "ehr_crp", "ehr_creatinine", "ehr_hba1c", "ehr_ldl", "ehr_smoker")
Missing = Literal["skip", "zeros"]


def faint_effusions(n: int, seed: int, *, risk: float = 0.6, difficulty: float = 0.4) -> list[Case]:
    """Chest films with a faint effusion, of whose risk the table explains so much."""
    config = PhantomConfig(
        seed=seed, studies={"chest_film": 1.0}, prevalence={FINDING: 0.45}, size=SIDE, organs=False,
        questions=False, difficulty=difficulty, risk_ehr=risk, risk_polygenic=0.0, missing_ehr=0.1, uncertain=0.0,
    )  # fmt: skip
    return list(Phantom(config).cases(n))


@dataclass(frozen=True)
class _Batches:
    """Draws batches, makes inputs go missing, gives the losses of one step."""

    model: ThreeMTModel
    arrays: Arrays
    y: npt.NDArray[np.int64]
    dropout: float
    inner: bool
    shuffled: bool

    def __call__(self, _: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = rng.choice(len(self.y), min(64, len(self.y)), replace=False)
        x, v = (a[i].copy() for a in self.arrays)
        there = np.stack([~np.isnan(v).all(1), ~np.isnan(x[:, 0, 0, 0])], 1)
        kept = modality_dropout(there, self.dropout, rng)
        v[~kept[:, 0]], x[~kept[:, 1]] = np.nan, np.nan
        order = (1, 0) if self.shuffled and rng.random() < 0.5 else (0, 1)
        logits, ran = self.model.net(
            *(torch.from_numpy(a).to(self.model.device) for a in (x, v)), order, self.model.zeros
        )
        target = torch.from_numpy(self.y[i]).to(self.model.device)
        each = F.cross_entropy(logits.flatten(0, 1), target.repeat_interleave(2), reduction="none").view(-1, 2)
        final = torch.where(ran[:, order[1]], each[:, order[1]], each[:, order[0]])[ran.any(1)].mean()
        return {"final": final} | ({"stages": 0.5 * (each * ran).sum() / ran.sum().clamp(min=1)} if self.inner else {})


@recipe(
    "3mt",
    claim=(
        "Skipping what is missing, in a net trained with inputs going missing, keeps more accuracy when the image is "
        "not there than a net that reads zeros in its place."
    ),
    model=ThreeMTModel,
    steps=250,
    worlds=(Drawn(faint_effusions, n=2000),),
)
def three_mt(
    cases: Sequence[Case], budget: Budget, job: Job, *, target: str = "", missing: Missing = "skip",
    dropout: float = 0.4, complete: bool = False, inner: bool = True, shuffled: bool = False,
) -> ThreeMTModel:  # fmt: skip
    """Train on images and numbers in `attributes`: the phantom's table, else every number that varies.

    Args:
        cases: Cases.
        budget: How much.
        job: Seed and device.
        target: Label that is learned; the phantom's finding, else `class`, when empty.
        missing: What a stage does whose input is missing.
        dropout: How often an input goes missing in training.
        complete: Train on complete cases alone, none of whose inputs go missing.
        inner: Whether inner stages have an answer and a loss of their own.
        shuffled: Whether stages run in either order while training.
    """
    kept, y, classes = labelled(cases, target or present(cases, FINDING), "3mt")
    names = [k for k in TABLE if any(k in c.attributes for c in kept)] or _varying(kept)
    raw = np.asarray([[number(c.attributes.get(k)) for k in names] for c in kept], np.float64).reshape(len(kept), -1)
    config = {
        "classes": list(classes), "table": names, "zeros": missing == "zeros",
        "mean": np.nan_to_num(np.nanmean(raw, 0)).tolist(),
        "std": np.where(np.nan_to_num(np.nanstd(raw, 0)) > 1e-6, np.nan_to_num(np.nanstd(raw, 0)), 1.0).tolist(),
        "prior": (np.bincount(y, minlength=len(classes)) / len(y)).tolist(),
    }  # fmt: skip
    torch.manual_seed(job.seed)
    model = ThreeMTModel(config, job.device)
    pixels, values = arrays_of(kept, config)
    if complete:
        whole = ~np.isnan(raw).any(1)
        pixels, values, y, dropout = pixels[whole], values[whole], y[whole], 0.0
    step = _Batches(model, (pixels, values), y, dropout, inner, shuffled)
    run_training(model, step, budget, job, learning_rate=1e-3, weight_decay=0.05)
    return model


def _varying(cases: Sequence[Case]) -> list[str]:
    return sorted(
        k for k in {k for c in cases for k in c.attributes}
        if len({c.attributes.get(k) for c in cases} - {None}) > 1
        and any(math.isfinite(number(c.attributes.get(k))) for c in cases)
    )  # fmt: skip


def ranking(model: ThreeMTModel, parts: Parts, *, without: str = "", order: tuple[int, int] = (0, 1)) -> Ranking:
    """Probability of the finding with an input taken away from every case, the stages in some order."""
    pixels, values = parts.once(str(model.config["table"]), lambda: arrays_of(parts.test, model.config))
    pixels = np.full_like(pixels, np.nan) if without == "image" else pixels
    values = np.full_like(values, np.nan) if without == "table" else values
    truth = np.asarray([c.label(FINDING) == 1 for c in parts.test])
    return Ranking(model.predict_arrays(pixels, values, order)[:, 1], parts.groups, truth)


def accuracy(model: ThreeMTModel, parts: Parts, *, without: str = "") -> Each:
    """Whether the more probable class is the true one."""
    found = ranking(model, parts, without=without)
    return Each((np.asarray(found.values) >= 0.5) == found.truth, found.groups)


WITHOUT_THIS = {"missing": "zeros", "complete": True}
three_mt.compare("accuracy without image: 3MT - zero-filled net of complete cases", accuracy,
                 given={"without": "image"}, against=WITHOUT_THIS, goal=0.08)  # fmt: skip
three_mt.compare("accuracy with both: 3MT - zero-filled net of complete cases", accuracy, against=WITHOUT_THIS,
                 goal=-0.03)  # fmt: skip
three_mt.compare("AUROC without image: skipping - reading zeros, both with dropout", ranking,
                 given={"without": "image"}, against={"missing": "zeros"}, goal=0.03)  # fmt: skip
three_mt.compare("accuracy without image: with - without answers of inner stages", accuracy,
                 given={"without": "image"}, against={"inner": False}, goal=0.03)  # fmt: skip
three_mt.compare("the same, no input dropped in training", accuracy, given={"without": "image", "dropout": 0.0},
                 against={"inner": False}, goal=0.03)  # fmt: skip
three_mt.compare("AUROC with both, order drawn in training: stages swapped - in order", ranking,
                 given={"shuffled": True, "order": (1, 0)}, against={"order": (0, 1)}, goal=-0.02)  # fmt: skip
