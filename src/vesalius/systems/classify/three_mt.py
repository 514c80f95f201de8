"""62 3MT: an image and a table through a cascade of cross-attention, trained with inputs going missing.

A missing input's stage is skipped (`nn.mixing`), its loss is masked, nothing is imputed; with nothing at all the
answer is the prevalence. Ablations: the same net where a missing input is zeros that are read like any other (`zeros`),
that net trained on complete cases only (`complete`, what one does without this), and the cascade without the answers of
its inner stages (`last`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.cases import Case, Image
from vesalius.nn.cascade import TableImageNet
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.systems.frame.claims import paired, paired_auroc
from vesalius.systems.frame.inputs import labelled, parts, pictures, present
from vesalius.systems.frame.recipe import Claim, ClassifierModel, Data, Floats, Job, System, SystemModel, run_training
from vesalius.training.missing import modality_dropout

SIDE = 64
FINDING = "pleural effusion"
TABLE = ("age", "ehr_bmi", "ehr_systolic_bp", "ehr_crp", "ehr_creatinine", "ehr_hba1c", "ehr_ldl", "ehr_smoker")
Variant = Literal["3mt", "zeros", "complete", "last"]


class ThreeMTModel(ClassifierModel):
    """Takes whatever a case has of image and table."""

    system: ClassVar[str] = "3mt"
    net: TableImageNet

    def build(self) -> nn.Module:
        """The net for the config's table."""
        return TableImageNet(len(self.config["table"]), len(self.config["classes"]))

    def predict(self, cases: Sequence[Case]) -> Floats:
        """`(n, classes)` probabilities from each case's first image and table; the prevalence where it has neither."""
        return self.predict_arrays(*_arrays(cases, self.config))

    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities from images alone."""
        return self.predict([Case(str(i), images=(image,)) for i, image in enumerate(images)])

    @torch.inference_mode()
    def predict_arrays(
        self, pixels: npt.NDArray[np.float32], values: npt.NDArray[np.float32], order: Sequence[int] | None = None
    ) -> Floats:
        """As `predict`, from the arrays of `_arrays`, with the stages in another order if wanted."""
        run = list(order) if order is not None else [0, 1]
        out = np.empty((len(pixels), len(self.classes)))
        for start in range(0, len(pixels), 256):
            part = slice(start, start + 256)
            x, v = (torch.from_numpy(a[part]).to(self.device) for a in (pixels, values))
            logits, ran = self.net(x, v, run, self.config["variant"] in ("zeros", "complete"))
            last = torch.full((len(x),), -1, device=self.device)
            for k in run:
                last = torch.where(ran[:, k], k, last)
            chosen = logits[torch.arange(len(x)), last.clamp(min=0)].double().softmax(1)
            prior = torch.tensor(self.config["prior"], dtype=torch.float64, device=self.device)
            out[part] = torch.where((last >= 0)[:, None], chosen, prior).cpu().numpy()
        return out


def _arrays(
    cases: Sequence[Case], config: Mapping[str, Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pictures `(n, 1, SIDE, SIDE)` and standardised tables `(n, features)`, NaN where something is missing."""
    pixels = np.full((len(cases), 1, SIDE, SIDE), np.nan, np.float32)
    having = [i for i, c in enumerate(cases) if c.images]
    if having:
        pixels[having, 0] = pictures((cases[i].images[0] for i in having), SIDE).mean(1) / 255
    values = np.asarray([[_number(c.attributes.get(k)) for k in config["table"]] for c in cases], np.float32)
    scaled = (values - np.asarray(config["mean"], np.float32)) / np.asarray(config["std"], np.float32)
    return pixels, scaled.astype(np.float32)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


@dataclass(frozen=True)
class _Batches:
    """Draws batches, makes inputs go missing, gives the losses of one step."""

    model: ThreeMTModel
    pixels: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    dropout: float

    def __call__(self, _: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = rng.choice(len(self.y), min(64, len(self.y)), replace=False)
        x, v = self.pixels[i].copy(), self.values[i].copy()
        present = np.stack([~np.isnan(v).all(1), ~np.isnan(x[:, 0, 0, 0])], 1)
        kept = modality_dropout(present, self.dropout, rng)
        v[~kept[:, 0]], x[~kept[:, 1]] = np.nan, np.nan
        variant, device = self.model.config["variant"], self.model.device
        logits, ran = self.model.net(
            *(torch.from_numpy(a).to(device) for a in (x, v)), zeros=variant in ("zeros", "complete")
        )
        target = torch.from_numpy(self.y[i]).to(device)
        each = F.cross_entropy(logits.flatten(0, 1), target.repeat_interleave(2), reduction="none").view(-1, 2)
        final = torch.where(ran[:, 1], each[:, 1], each[:, 0])[ran.any(1)].mean()
        if variant == "last":
            return {"final": final}
        return {"final": final, "stages": 0.5 * (each * ran).sum() / ran.sum().clamp(min=1)}


class ThreeMT(System):
    """The recipe."""

    name: ClassVar[str] = "3mt"
    claim: ClassVar[str] = (
        "Skipping what is missing, in a net trained with inputs going missing, keeps more accuracy when the image is "
        "not there than a net that reads zeros in its place."
    )
    model: ClassVar[type[SystemModel]] = ThreeMTModel

    def example(self, n: int, seed: int) -> list[Case]:
        """Chest films with a faint effusion, whose risk the table explains in part."""
        config = PhantomConfig(
            seed=seed, studies={"chest_film": 1.0}, prevalence={FINDING: 0.45}, size=SIDE, organs=False,
            questions=False, difficulty=0.4, risk_ehr=0.6, risk_polygenic=0.0, missing_ehr=0.1, uncertain=0.0,
        )  # fmt: skip
        return list(Phantom(config).cases(n))

    def train(self, cases: Sequence[Case], job: Job, variant: Variant = "3mt", dropout: float = 0.4) -> ThreeMTModel:
        """Train on images and numbers in `attributes`: the phantom's table, else every number that varies."""
        target = job.target or present(cases, FINDING)
        kept, y, classes = labelled(cases, target, self.name)
        names = [k for k in TABLE if any(k in c.attributes for c in kept)] or sorted(
            k for k in {k for c in kept for k in c.attributes}
            if len({c.attributes.get(k) for c in kept} - {None}) > 1
            and any(math.isfinite(_number(c.attributes.get(k))) for c in kept)
        )  # fmt: skip
        raw = np.asarray([[_number(c.attributes.get(k)) for k in names] for c in kept], np.float64).reshape(
            len(kept), -1
        )
        config = {
            "classes": list(classes), "table": names, "variant": variant,
            "mean": np.nan_to_num(np.nanmean(raw, 0)).tolist(),
            "std": np.where(np.nan_to_num(np.nanstd(raw, 0)) > 1e-6, np.nan_to_num(np.nanstd(raw, 0)), 1.0).tolist(),
            "prior": (np.bincount(y, minlength=len(classes)) / len(y)).tolist(),
        }  # fmt: skip
        torch.manual_seed(job.seed)
        model = ThreeMTModel(config, job.device)
        pixels, values = _arrays(kept, config)
        if variant == "complete":
            whole = ~np.isnan(raw).any(1)
            pixels, values, y, dropout = pixels[whole], values[whole], y[whole], 0.0
        step = _Batches(model, pixels, values, y, dropout)
        run_training(model, step, job, steps=250, learning_rate=1e-3, weight_decay=0.05)
        return model

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Accuracy and AUROC on new patients as inputs go missing."""
        n = 1400 if job is None or job.steps is None else 20 * job.steps
        part = parts(self.example(n, seed), {"train": 0.6, "test": 0.4}, seed)
        job = Job(seed=seed) if job is None else job
        variants: tuple[Variant, ...] = ("3mt", "zeros", "complete", "last")
        models = {v: self.train(part["train"], job, v) for v in variants}
        test = part["test"]
        pixels, values = _arrays(test, models["3mt"].config)
        y = np.asarray([c.label(FINDING) == 1 for c in test])
        no_image, no_table = np.full_like(pixels, np.nan), np.full_like(values, np.nan)
        p = {(v, "both"): m.predict_arrays(pixels, values)[:, 1] for v, m in models.items()}
        p |= {(v, "table"): m.predict_arrays(no_image, values)[:, 1] for v, m in models.items()}
        swapped = models["3mt"].predict_arrays(pixels, values, (1, 0))[:, 1]
        seen = models["3mt"].predict_arrays(pixels, no_table)[:, 1]
        right = {k: (v >= 0.5) == y for k, v in p.items()}
        details = {f"{v} {k}": float(r.mean()) for (v, k), r in right.items()} | {
            "3mt image": float(((seen >= 0.5) == y).mean())
        }
        return (
            paired(self.name, "accuracy without image: 3MT - zero-filled net of complete cases",
                   right["3mt", "table"], right["complete", "table"], goal=0.08, seed=seed, details=details),
            paired(self.name, "accuracy with both: 3MT - zero-filled net of complete cases",
                   right["3mt", "both"], right["complete", "both"], goal=-0.03, seed=seed),
            paired_auroc(self.name, "AUROC without image: skipping - reading zeros, both with dropout", y,
                         p["3mt", "table"], p["zeros", "table"], goal=0.03, seed=seed),
            paired(self.name, "accuracy without image: with - without answers of inner stages",
                   right["3mt", "table"], right["last", "table"], goal=0.03, seed=seed),
            paired_auroc(self.name, "AUROC with both: stages swapped - as trained", y, swapped, p["3mt", "both"],
                         goal=-0.02, seed=seed),
        )  # fmt: skip


SYSTEM = ThreeMT()
