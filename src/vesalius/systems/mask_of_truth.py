"""63 Mask of truth: train and test a classifier with the organ removed, or with only the organ left.

The five modes of the study are `audit.masks`; the matrix of training by test mode is `audit.shortcuts.mask_matrix`.
What the study lacks and what is added: a hole has a shape, and shape alone can give the label away. The control removes
one and the same area from every image (`no-fixed`). The claim is that only the control tells a shortcut outside the
organ from an organ whose size goes with the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_dilation
from torch import nn

from vesalius.audit.masks import Mode, common_area, masked
from vesalius.audit.probe import fit_probe
from vesalius.cases import Case, Image
from vesalius.cases.geometry import Mask
from vesalius.cases.splits import kfold
from vesalius.metrics.inference import delong
from vesalius.models.heads import target_value
from vesalius.nn.random_conv import RandomConv
from vesalius.sources.phantom import Phantom, PhantomConfig, Shortcut
from vesalius.systems.base import Claim, ClassifierModel, Data, Floats, Job, System, SystemModel
from vesalius.systems.inputs import labelled, pictures, real_set

#: Truth and scores of the same cases.
_Scored = tuple[npt.NDArray[np.bool_], Floats]
SIDE = 64
FINDING = "atelectasis"
OTHERS = (
    "pleural effusion", "nodule", "mass", "pneumothorax", "cardiomegaly", "consolidation", "pulmonary edema",
    "rib fracture",
)  # fmt: skip
LUNGS = ("right lung", "left lung", "lungs")


class MaskModel(ClassifierModel):
    """Random filters with a linear head: the classifier that the masks are tried on."""

    system: ClassVar[str] = "mask-of-truth"

    def build(self) -> nn.Module:
        """Filters and head."""
        filters = RandomConv()
        return nn.Sequential(filters, nn.Linear(filters.features, 1))

    @torch.inference_mode()
    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, 2)` probabilities of whole images."""
        p = (
            torch.sigmoid(self.net(_tensor(pictures(images, SIDE).mean(1)).to(self.device)))[:, 0]
            .double()
            .cpu()
            .numpy()
        )
        return np.stack([1 - p, p], 1)


class MaskOfTruth(System):
    """The recipe."""

    name: ClassVar[str] = "mask-of-truth"
    claim: ClassVar[str] = (
        "A classifier that still works when one and the same area around the organ is removed from every image reads a "
        "shortcut; removing each image's own organ, without that control, raises a false alarm where organ size goes "
        "with the label."
    )
    model: ClassVar[type[SystemModel]] = MaskModel
    data: ClassVar[tuple[Data, ...]] = ("phantom", "real")

    def example(self, n: int, seed: int, correlation: float = 0.0) -> list[Case]:
        """Chest films with atelectasis or without, and a marker in a corner that goes along with it."""
        config = PhantomConfig(
            seed=seed, studies={"chest_film": 1.0}, prevalence=dict.fromkeys(OTHERS, 0.0) | {FINDING: 0.5},
            degraded=0.0, shortcut=Shortcut(FINDING, "marker", correlation), questions=False, geometries=("mask",),
            size=96, risk_ehr=0.0, risk_polygenic=0.0, device_shift=0.0, difficulty=0.0, uncertain=0.0,
        )  # fmt: skip
        return list(Phantom(config).cases(n))

    def train(self, cases: Sequence[Case], job: Job) -> MaskModel:
        """Fit the head on whole images of two classes."""
        target = job.target or (FINDING if any(FINDING in c.labels for c in cases) else "")
        kept, y, classes = labelled(cases, target, self.name)
        model = MaskModel({"classes": list(classes[:2]), "target": target}, job.device)
        probe = fit_probe(_features(pictures((c.images[0] for c in kept), SIDE).mean(1)), y == 1, 10.0)
        head: Any = model.net[1]  # type: ignore[index] # build() gives a Sequential
        weight = probe.weight / probe.scale
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(weight)[None])
            head.bias.fill_(float(probe.bias - weight @ probe.mean))
        return model

    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Honest, shortcut and size-leak sets; with and without the control."""
        n = 600 if job is None or job.steps is None else 20 * job.steps
        if data == "real":
            cases = [c for c in real_set(folder, "covid-cc-by") if _lungs(c).any() and c.images[0].view]
            view = np.asarray([str(target_value(c, "view")).startswith("AP") for c in cases])
            found = _read(cases, view)
            where = "covid-cc-by: AP supine or PA"
            return (
                self._above(found["no-fixed"], "AUROC outside the lungs' common area - 0.5", 0.1, seed, where),
                self._above(found["outline"], "AUROC of the lungs' outline alone - 0.5", 0.1, seed, where),
            )
        honest, biased = self.example(n, seed), self.example(n, seed + 50_000, correlation=0.9)
        label = {id(s): np.asarray([c.label(FINDING) == 1 for c in s]) for s in (honest, biased)}
        fair, short = _read(honest, label[id(honest)]), _read(biased, label[id(biased)])
        # Organ size goes with an answer that has nothing to do with the picture: the mask grows, the picture stays.
        coin = np.random.default_rng((seed, 63)).random(n) < 0.5
        leak = _read(honest, coin, spread=[3 if c else 0 for c in coin], modes=("no-roi", "no-fixed"))
        return (
            self._apart(leak["no-roi"], leak["no-fixed"], "size leak: AUROC without control - with it", 0.2, seed),
            self._apart(short["no-fixed"], fair["no-fixed"], "AUROC outside the lungs: shortcut - honest", 0.3, seed),
            self._apart(fair["only-roi"], fair["no-fixed"], "honest: AUROC of the lungs alone - outside", 0.3, seed),
            self._apart(short["full>no-roi"], short["full>only-roi"],
                        "shortcut: trained on all, AUROC without lungs - with lungs only", 0.2, seed),
        )  # fmt: skip

    def _apart(self, a: _Scored, b: _Scored, claim: str, goal: float, seed: int) -> Claim:
        """Difference of two AUROCs, their errors added as if independent (wider than the truth where they pair)."""
        first, second = delong(*a), delong(*b)
        margin, half = first.auc - second.auc, 1.96 * float(np.hypot(first.se, second.se))
        n = len(a[0])
        return Claim(self.name, claim, first.auc, second.auc, margin, margin - half, margin + half, goal, n, seed)

    def _above(self, a: _Scored, claim: str, goal: float, seed: int, where: str) -> Claim:
        e = delong(*a)
        low, high = e.interval.low - 0.5, e.interval.high - 0.5
        return Claim(self.name, claim, e.auc, 0.5, e.auc - 0.5, low, high, goal, len(a[0]), seed, where)


def _lungs(case: Case) -> npt.NDArray[np.bool_]:
    """`(SIDE, SIDE)` where the lungs are."""
    masks = [r.geometry for r in case.regions if r.label in LUNGS and isinstance(r.geometry, Mask)]
    if not masks:
        return np.zeros((SIDE, SIDE), bool)
    area = np.any([m.to_array() for m in masks], 0)
    image = Image(array=(area * 255).astype(np.uint8), modality="DX")
    return np.asarray(pictures([image], SIDE)[0, 0] > 127)


def _read(
    cases: Sequence[Case],
    y: npt.NDArray[np.bool_],
    spread: Sequence[int] | None = None,
    modes: Sequence[Mode] = ("full", "no-roi", "only-roi", "outline", "no-fixed"),
) -> dict[str, _Scored]:
    """Out-of-fold scores in each mode, trained and tested alike; `full>mode`: trained on whole images."""
    grey = pictures((c.images[0] for c in cases), SIDE).mean(1).astype(np.uint8)
    lungs = [_lungs(c) for c in cases]
    steps = spread if spread is not None else [0] * len(lungs)
    regions = [binary_dilation(r, iterations=s) if s else r for r, s in zip(lungs, steps, strict=True)]
    fixed = common_area(regions)
    features = {
        m: _features(np.stack([masked(x, r, m, fixed=fixed) for x, r in zip(grey, regions, strict=True)]))
        for m in modes
    }
    scores: dict[str, Floats] = {}
    for train, test in kfold([c.group for c in cases], [int(v) for v in y], 5, seed=0):
        for trained in modes:
            probe = fit_probe(features[trained][train], y[train], 10.0)
            for m in modes if trained == "full" else (trained,):
                name = m if m == trained else f"full>{m}"
                scores.setdefault(name, np.empty(len(y)))[test] = probe.predict(features[m][test])
    return {name: (y, score) for name, score in scores.items()}


@torch.inference_mode()
def _features(grey: npt.NDArray[Any]) -> Floats:
    """`(n, d)` of `(n, SIDE, SIDE)` 8-bit pictures."""
    out: Floats = RandomConv()(_tensor(grey)).double().numpy()
    return out


def _tensor(grey: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(grey, np.float32))[:, None] / 255


SYSTEM = MaskOfTruth()
