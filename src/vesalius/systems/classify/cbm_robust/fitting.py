"""Fitting the linear head of a concept bottleneck on cached scores: by steps, or sparse by elastic net."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import UsageError
from vesalius.systems.classify.cbm_robust.net import ConceptBottleneck
from vesalius.training.loop import Plan, train_loop

Ints = npt.NDArray[np.int64]
#: Learning rate of the head, as published.
RATE = 0.01


def open_bottleneck(vectors: Tensor, texts: Tensor, classes: int, *, standardise: bool = True) -> ConceptBottleneck:
    """An untrained bottleneck on these concepts, its scores standardised on these images.

    Args:
        vectors: `(n, d)` unit vectors of the training images, or `(n, patches, d)`.
        texts: `(concepts, d)` unit vectors. The identity makes every coordinate a concept: a linear probe on the whole
            vector, fitted like any bottleneck.
        classes: Classes.
        standardise: False leaves the cosines as they are.
    """
    net = ConceptBottleneck(len(texts), texts.shape[1], classes)
    net.texts.copy_(texts)
    if standardise:
        net.standardise(net.raw(vectors))
    return net


def bottleneck_step(
    net: ConceptBottleneck, scores: Tensor, y: Ints, *, batch: int = 32
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: cross-entropy of a batch of cached scores; nothing but the head changes.

    Args:
        net: The bottleneck.
        scores: `(n, concepts)` from `net.scores`.
        y: `(n,)` class numbers.
        batch: Images in a step.
    """
    target = torch.from_numpy(y).to(scores.device)

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = rng.choice(len(y), min(batch, len(y)), replace=False)
        return {"classes": F.cross_entropy(net(scores[i]), target[i])}

    return step


def train_bottleneck(
    vectors: Tensor, y: Ints, texts: Tensor, classes: int, steps: int, seed: int, *, standardise: bool = True
) -> ConceptBottleneck:
    """Open a bottleneck and train its head for so many steps; arguments as for the two functions above."""
    torch.manual_seed(seed)
    net = open_bottleneck(vectors, texts, classes, standardise=standardise)
    train_loop(net, bottleneck_step(net, net.scores(vectors), y), Plan(steps=steps, learning_rate=RATE, seed=seed))
    return net


def fit_sparse(net: ConceptBottleneck, scores: Tensor, y: Ints, strength: float, *, l1_ratio: float = 0.9) -> int:
    """Set the head by elastic-net logistic regression, which leaves most concepts unused.

    Args:
        net: The bottleneck; its head is set in place.
        scores: `(n, concepts)` from `net.scores`.
        y: `(n,)` class numbers; every class is there.
        strength: Of the penalty on the mean log loss.
        l1_ratio: Share of the penalty that is L1.

    Returns:
        How many concepts carry any weight.

    Raises:
        UsageError: The strength is not above 0.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not 0 < strength < float("inf"):
        raise UsageError("sparsity must be above 0", item=str(strength))
    model = LogisticRegression(
        C=1 / (strength * len(y)), solver="saga", l1_ratio=l1_ratio, max_iter=2000, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # scikit-learn before 1.8 wants the penalty named, later ones warn about it.
        warnings.simplefilter("ignore", FutureWarning)
        model.set_params(penalty="elasticnet").fit(scores.cpu().double().numpy(), y)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # two classes: one row of log odds, shared between the two logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(weight))
        net.head.bias.copy_(torch.from_numpy(bias))
    return int((np.abs(weight) > 0).any(0).sum())
