"""nano from data to a model folder: tower, mean with ImageNet's, features, projections, how words are scored.

Every stage leaves a file in `OUT/work`, so that a stopped run goes on where it was. The choices in `Recipe` were made
on the validation part of the sets; a rebuild repeats them and measures on the test part.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from vesalius.cases import Case
from vesalius.job import Job
from vesalius.models.manifest import Manifest, describe_files
from vesalius.models.nano.minilm import MINILM
from vesalius.models.nano.model import DIM, WEIGHTS, WORDS, NanoNet
from vesalius.models.preprocess import ViewPreprocess
from vesalius.nn.efficientnet import EfficientNetLite0
from vesalius.sources.open_sets.splits import part_of
from vesalius.training.nano.captions import captions_of, sentence_vectors
from vesalius.training.nano.drawings import drawings
from vesalius.training.nano.features import lower_maps, upper_features
from vesalius.training.nano.pictures import Views, collect, decode
from vesalius.training.nano.projections import ProjectionRecipe, Projections, fit_projections
from vesalius.training.nano.tower import TowerRecipe, averaged, imagenet, tune
from vesalius.training.nano.words import fit_words

#: The sets that nano knows.
SETS = (
    "nih-cxr14", "isic2017", "busi", "cbc", "chula-rbc12", "hippocampus", "covid-cc-by", "brca-m2c", "chase-db1",
    "brain-mr", "chest-ct", "cross-sections", "ct-ich", "fracatlas", "hc18-fetal-head", "iq-oth-lung-ct", "knee-oa",
    "kvasir-seg", "lc25000-lung", "lung-ultrasound", "mednist", "paediatric-pneumonia", "pbc-blood",
    "shoulder-implant", "spine-xray",
)  # fmt: skip
#: Sides of the views that the tower is tuned on, cut down further by augmentation, and that features are computed on.
CUT_FROM, SIDE = 256, 224
#: Slices that are taken of a drawn volume.
DRAWN_SLICES = 4


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result.

    Args:
        tower: How the tower is tuned.
        tuned: Share of the tuned weights in the mean with ImageNet's.
        projections: How the projections are trained.
        drawings: Drawings of each kind of study.
        drawn: Share of drawings among the images that the projections are trained on.
        left_out_steps: Steps of the projections that are trained without one kind of image, to learn how words are
            scored on kinds that were never seen.
        seed: Seed of the drawings.
    """

    tower: TowerRecipe = field(default_factory=TowerRecipe)
    tuned: float = 1.0
    projections: ProjectionRecipe = field(default_factory=ProjectionRecipe)
    drawings: int = 26
    drawn: float = 0.1
    left_out_steps: int = 80
    seed: int = 101

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return] # tuples to lists


@dataclass(frozen=True, eq=False)
class Material:
    """Cases with their views, in one order: real ones, then drawings.

    Args:
        cases: The cases.
        part: `(cases,)` `nano`, `validation`, `system`, `test` or `drawn`.
        large: Views that the tower is tuned on.
        small: Views that features are computed on.
    """

    cases: Sequence[Case]
    part: npt.NDArray[np.str_]
    large: tuple[Views, Views]
    small: tuple[Views, Views]

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """`(views,)` the case of each view."""
        real, drawn = self.small
        return np.concatenate([real.owner, len(real) + drawn.owner])

    @property
    def sets(self) -> npt.NDArray[Any]:
        """`(cases,)` name of each case's set."""
        return np.asarray([c.source.dataset for c in self.cases])

    def chance(self, train: npt.NDArray[np.bool_], drawn: float) -> npt.NDArray[np.float64]:
        """`(views,)` chance of each view in a batch: sets by the root of their size, drawings by their share."""
        chance = np.zeros(len(self.cases))
        real = train & (self.part != "drawn")
        sets, which = np.unique(self.sets[real], return_inverse=True)
        size = np.bincount(which, minlength=len(sets))
        share = np.sqrt(size) / np.sqrt(size).sum()
        chance[real] = (share / size)[which] * (1 - drawn)
        painted = self.part == "drawn"
        chance[painted] = drawn / max(painted.sum(), 1)
        owner = self.owner
        return np.asarray((chance / np.bincount(owner, minlength=len(chance)))[owner])


def gather(data: Path, work: Path, recipe: Recipe, job: Job) -> Material:
    """Read, decode and draw everything, or find it where an earlier run left it.

    Args:
        data: Folder with the open sets.
        work: Where decoded views are kept.
        recipe: Says what is drawn.
        job: Told how far it is.
    """
    cases = collect(data, SETS)
    drawn = list(drawings(recipe.drawings, recipe.seed))
    job.note(f"{len(cases)} cases and {len(drawn)} drawings")
    real = decode(cases, (CUT_FROM, SIDE), work, job)
    painted = decode(drawn, (CUT_FROM, SIDE), work, job, slices=DRAWN_SLICES)
    part = np.asarray([part_of(c) for c in cases] + ["drawn"] * len(drawn))
    return Material([*cases, *drawn], part, (real[0], painted[0]), (real[1], painted[1]))


def build(data: Path, out: Path, recipe: Recipe, job: Job, *, resume: bool = False) -> Manifest:
    """Train nano and write its model folder (without a card; see `training.nano.card`).

    Args:
        data: Folder with the open sets, one folder each.
        out: Model folder to write; everything in between goes to `out/work`.
        recipe: The recipe.
        job: Told how it goes.
        resume: Go on from what an earlier run left in `out/work`.
    """
    started, work = time.monotonic(), out / "work"
    material = gather(data, work / "views", recipe, job)
    tuned = _tuned(material, recipe, work, job, resume)
    tower = EfficientNetLite0()
    tower.load_state_dict(averaged(tuned, recipe.tuned))
    features = features_of(material, tower, recipe.tower.frozen, work, job)
    captions = captions_of(material.cases, drawn=list(material.part == "drawn"), seed=recipe.projections.seed)
    sentences = sentence_vectors(captions.text, work)
    train = material.part == "nano"

    def fitted(seen: npt.NDArray[np.bool_], steps: int) -> Projections:
        plan = dataclasses.replace(recipe.projections, steps=steps)
        return fit_projections(
            features, material.owner, material.chance(seen, recipe.drawn), captions, sentences, plan, job
        )

    projections = fitted(train, recipe.projections.steps)
    words = fit_words(material, features, lambda seen: fitted(seen, recipe.left_out_steps), projections, job)
    net = NanoNet()
    state = {f"tower.{k}": v for k, v in tower.state_dict().items()} | projections.folded()
    net.load_state_dict(state)
    seen = [c for c, t in zip(material.cases, train, strict=True) if t]
    notes = {
        "recipe": recipe.to_dict(),
        "trained_on": dict(Counter(c.source.dataset for c in seen)),
        "drawings": int((material.part == "drawn").sum()),
        "train_seconds": round(time.monotonic() - started),
    }
    held = [c.id for c, p in zip(material.cases, material.part, strict=True) if p not in ("nano", "drawn")]
    return write_model(out, net, words, held, notes)


def _tuned(material: Material, recipe: Recipe, work: Path, job: Job, resume: bool) -> Mapping[str, torch.Tensor]:
    path = work / "tuned.safetensors"
    if resume and path.is_file():
        kept: dict[str, torch.Tensor] = load_file(path)
        return kept
    real, drawn = material.large
    train = np.flatnonzero(material.part == "nano")
    views = [*(real.of(int(i)) for i in train), *(drawn.of(i) for i in range(len(drawn)))]
    painted = [c for c, p in zip(material.cases, material.part, strict=True) if p == "drawn"]
    mine = [material.cases[i] for i in train.tolist()]
    net = tune(recipe.tower, mine, painted, views, work / "tower", job, resume=resume)
    state = {k: v.detach().contiguous().clone() for k, v in net.tower.state_dict().items()}
    save_file(state, path)
    return state


def features_of(
    material: Material, tower: EfficientNetLite0, frozen: int, work: Path, job: Job
) -> npt.NDArray[np.float32]:
    """`(views, 1280)` of real views, then of drawn ones; the first blocks' maps are found where they were left."""
    untouched = EfficientNetLite0()
    untouched.load_state_dict(imagenet())
    out = []
    for name, views in zip(("real", "drawn"), material.small, strict=True):
        views = Views(views.pixels[: views.first[-1]], views.first)
        maps = lower_maps(untouched, views, frozen, work / f"lower-{name}.npy", job)
        out.append(upper_features(tower, maps, frozen, np.arange(len(maps)), job))
    return np.concatenate(out)


def write_model(
    out: Path, net: NanoNet, words: Mapping[str, Any], held_out: Sequence[str], notes: Mapping[str, Any]
) -> Manifest:
    """Write the model folder: weights in half precision, how words are scored, ids never trained on, manifest."""
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, out / WEIGHTS)
    (out / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    (out / WORDS).write_text(json.dumps(words, indent=1) + "\n", "utf-8")
    (out / "held_out.json").write_text(json.dumps(list(held_out), indent=0) + "\n", "utf-8")
    manifest = Manifest(
        name="nano",
        kind="nano",
        version="2",
        capabilities=("embed", "text"),
        licence="Apache-2.0 (weights); text tower Apache-2.0; see card.md for the data",
        title="EfficientNet-Lite0 + MiniLM, tuned on open medical images",
        dim=DIM,
        preprocess=ViewPreprocess().to_dict(),
        files=describe_files(out),
        external={"text": MINILM},
        notes=notes,
    )
    manifest.write(out)
    return manifest
