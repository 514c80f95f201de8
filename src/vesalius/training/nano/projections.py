"""The two projections into the shared space, trained on features that were computed once.

A batch is images and captions, one drawn for each image: from a kind of caption (modality, body part, both, a finding,
...), then a claim of that kind that is true, then one of its wordings, so that what has many words is not said more
often. A linear readout of the image's vector must also give back the tower's features, so that nothing that a probe
could use is lost on the way from 1280 to 384 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.job import Job
from vesalius.losses.contrastive import multi_positive
from vesalius.models.nano.model import DIM
from vesalius.nn.efficientnet import FEATURES
from vesalius.training.loop import Plan, train_loop
from vesalius.training.nano.captions import FIELDS, Captions

Floats = npt.NDArray[np.float32]
#: Chance of each kind of caption, by the fields that it states.
SHARE: Mapping[str, float] = {
    "modality": 0.18,
    "part": 0.22,
    "modality part": 0.15,
    "plane": 0.05,
    "modality plane": 0.04,
    "modality part plane": 0.05,
    "modality sequence": 0.03,
    "modality part sequence": 0.03,
    "modality part plane sequence": 0.02,
    "fact": 0.12,
    "modality part fact": 0.12,
    "modality fact": 0.02,
}


@dataclass(frozen=True)
class ProjectionRecipe:
    """How the projections are trained.

    Args:
        steps: Optimiser steps.
        batch: Images and captions of a step.
        learning_rate: Peak rate.
        keep: Weight of giving back the features.
        stay: Weight of the text projection's distance from the identity: a free one learns the captions by heart.
        kept: Principal components of the features that are given back.
        even: How much weak directions are strengthened before they are given back: 0 as they are, 1 whitened.
        noise: Standard deviation of noise on standardised features.
        share: Chance of each kind of caption, by the fields it states.
        seed: Seed of every draw.
    """

    steps: int = 600
    batch: int = 384
    learning_rate: float = 1e-3
    keep: float = 1.0
    stay: float = 0.01
    kept: int = 256
    even: float = 0.0
    noise: float = 0.1
    share: Mapping[str, float] = field(default_factory=lambda: SHARE)
    seed: int = 0


class Projections(nn.Module):
    """Image and text projection with their temperature; `image` takes standardised features.

    Args:
        mean: `(1280,)` of the features.
        std: `(1280,)`.
        kept: Components that are given back.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, kept: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.image_projection = nn.Linear(FEATURES, DIM)
        self.text_projection = nn.Linear(DIM, DIM)
        nn.init.eye_(self.text_projection.weight)
        nn.init.zeros_(self.text_projection.bias)
        self.back = nn.Linear(DIM, kept)
        nn.init.eye_(self.back.weight)
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def image(self, features: Tensor) -> Tensor:
        """`(n, 1280)` features to `(n, 384)` unit vectors."""
        return F.normalize(self.image_projection((features - self.mean) / self.std), dim=1)

    def text(self, sentence: Tensor) -> Tensor:
        """`(n, 384)` MiniLM vectors to `(n, 384)` unit vectors."""
        return F.normalize(self.text_projection(sentence), dim=1)

    def folded(self) -> dict[str, Tensor]:
        """The state of nano's own layers: the standardisation goes into the image projection."""
        weight = self.image_projection.weight / self.std
        return {
            "image_projection.weight": weight.detach().clone(),
            "image_projection.bias": (self.image_projection.bias - weight @ self.mean).detach().clone(),
            "text_projection.weight": self.text_projection.weight.detach().clone(),
            "text_projection.bias": self.text_projection.bias.detach().clone(),
            "log_scale": self.log_scale.detach().clone(),
        }


class Pairs:
    """Which captions are true of which case, and how a batch is drawn.

    Args:
        captions: The captions.
        share: Chance of each kind of caption.
    """

    def __init__(self, captions: Captions, share: Mapping[str, float]) -> None:
        claims, self.claim = np.unique(captions.claims, axis=0, return_inverse=True)
        self.claim = self.claim.reshape(-1)
        first = np.asarray([np.flatnonzero(self.claim == c)[0] for c in range(len(claims))])
        cases = np.arange(len(captions.truth[0]))
        self.truth = captions.match(cases, first)
        self.wordings = [np.flatnonzero(self.claim == c) for c in range(len(claims))]
        names = [" ".join(f for f, v in zip(FIELDS, row, strict=True) if v >= 0) for row in claims]
        kinds = [(share[k], np.asarray([i for i, n in enumerate(names) if n == k])) for k in share if k in names]
        # Looked up once: a step draws hundreds of captions.
        self.known: list[tuple[npt.NDArray[np.float64], list[npt.NDArray[np.int64]]]] = []
        for row in self.truth == 1:
            mine = [(weight, of[row[of]]) for weight, of in kinds if row[of].any()]
            weights = np.cumsum([weight for weight, _ in mine])
            self.known.append((weights / weights[-1] if len(mine) else weights, [of for _, of in mine]))

    def draw(self, cases: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """One caption for each case, -1 where nothing is known of it."""
        chance = rng.random((len(cases), 3))
        return np.asarray([self._one(int(case), *row) for case, row in zip(cases, chance, strict=True)], np.int64)

    def _one(self, case: int, kind: float, claim: float, wording: float) -> int:
        """A kind of caption, then a claim of that kind that is true, then one of its wordings."""
        weights, claims = self.known[case]
        if not len(weights):
            return -1
        true = claims[int(np.searchsorted(weights, kind, side="right"))]
        said = self.wordings[int(true[int(claim * len(true))])]
        return int(said[int(wording * len(said))])


def fit_projections(
    features: Floats, owner: npt.NDArray[np.int64], chance: npt.NDArray[np.float64], captions: Captions,
    sentences: Tensor, recipe: ProjectionRecipe, job: Job,
) -> Projections:  # fmt: skip
    """Train both projections.

    Args:
        features: `(views, 1280)` of the tower.
        owner: `(views,)` the case of each view.
        chance: `(views,)` chance of each view; views of chance 0 are never seen.
        captions: Captions about the cases.
        sentences: `(captions, 384)` their MiniLM vectors.
        recipe: The recipe.
        job: Notes on how it goes.
    """
    seen = np.flatnonzero(chance > 0)
    x = torch.from_numpy(features)
    mean, std = x[seen].mean(0), x[seen].std(0).clamp(min=1e-3)
    torch.manual_seed(recipe.seed)
    most = min(DIM, len(seen))  # directions that so many views can have
    net = Projections(mean, std, min(recipe.kept, most))
    whole = (x - mean) / std
    _, _, axes = torch.svd_lowrank(whole[seen], most, niter=2)
    axes = axes / (whole[seen] @ axes).std(0).clamp(min=1e-3) ** recipe.even
    with torch.no_grad():
        # Starts where nothing is lost that 384 numbers can hold.
        net.image_projection.weight[:most].copy_(axes.T)
        net.image_projection.bias.zero_()
    components = whole @ axes[:, : recipe.kept]
    pairs = Pairs(captions, recipe.share)
    step = projection_step(net, whole, components, owner, chance / chance.sum(), pairs, sentences, recipe)
    plan = Plan(
        steps=recipe.steps, learning_rate=recipe.learning_rate, rates={"text_projection": 0.3}, weight_decay=0.02,
        warmup=30, average=0.98, seed=recipe.seed, every=200,
    )  # fmt: skip
    train_loop(net, step, plan, job=job)
    return net


def projection_step(
    net: Projections, whole: Tensor, components: Tensor, owner: npt.NDArray[np.int64],
    chance: npt.NDArray[np.float64], pairs: Pairs, sentences: Tensor, recipe: ProjectionRecipe,
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:  # fmt: skip
    """One step on standardised features `whole`, whose `components` are to be given back."""
    identity = torch.eye(DIM)

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        view = rng.choice(len(chance), recipe.batch, p=chance)
        said = pairs.draw(owner[view], rng)
        view, said = view[said >= 0], said[said >= 0]
        true = torch.from_numpy(pairs.truth[owner[view]][:, pairs.claim[said]])
        x = whole[view]
        x = x + recipe.noise * torch.randn_like(x)
        image, text = F.normalize(net.image_projection(x), dim=1), net.text(sentences[said])
        scale = net.log_scale.exp().clamp(max=60)
        unknown = torch.isnan(true)
        # A unit vector's numbers are of the order of 1 / sqrt(384).
        back = F.mse_loss(net.back(math.sqrt(DIM) * image), components[view]) / components[view].var()
        away = (net.text_projection.weight - identity).pow(2).sum()
        return {
            "contrast": multi_positive(scale * image @ text.T, torch.nan_to_num(true), unknown),
            "back": recipe.keep * back,
            "away": recipe.stay * away,
        }

    return step
