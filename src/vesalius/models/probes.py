"""Small predictors on frozen vectors: linear (logistic, prototype, ridge) and nearest neighbours, as plain arrays."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from vesalius.cases.splits import kfold
from vesalius.cases.targets import Value, class_name
from vesalius.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ProbeKind = Literal["logistic", "prototype", "knn", "ridge"]

#: Regularisation strengths tried by an inner cross-validation (inverse for logistic, penalty for ridge).
LOGISTIC_C = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
RIDGE_ALPHA = (1e-1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
#: Temperature of neighbour votes: weight `exp((cosine - 1) / tau)`.
KNN_TAU = 0.07


@dataclass(frozen=True)
class Linear:
    """`scores = x @ weight.T + bias`; for ridge there is one row and the score is the value itself.

    Args:
        weight: `(outputs, dim)`.
        bias: `(outputs,)`.
    """

    weight: Floats
    bias: Floats

    def scores(self, x: npt.ArrayLike) -> Floats:
        """`(n, outputs)` from `(n, dim)`, row by row the same whatever else is in the batch."""
        rows = np.ascontiguousarray(x, np.float64)
        # einsum keeps the order of additions independent of n; a BLAS product does not, and thresholds are exact.
        return np.asarray(np.einsum("nd,od->no", rows, self.weight)) + self.bias

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What to store."""
        return {"weight": self.weight, "bias": self.bias}


@dataclass(frozen=True)
class Neighbours:
    """Votes of the `k` nearest labelled vectors, weighted by `exp((cosine - 1) / tau)`; scores are log shares.

    Args:
        vectors: `(m, dim)` unit vectors.
        labels: `(m,)` class numbers.
        classes: Number of classes.
        k: How many vote.
    """

    vectors: Floats
    labels: Ints
    classes: int
    k: int

    def scores(self, x: npt.ArrayLike) -> Floats:
        """`(n, classes)` log shares from `(n, dim)` unit vectors."""
        similarity = np.einsum("nd,md->nm", np.ascontiguousarray(x, np.float64), self.vectors)
        k = min(self.k, len(self.vectors))
        near = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        weight = np.exp((np.take_along_axis(similarity, near, 1) - 1) / KNN_TAU)
        votes = np.zeros((len(similarity), self.classes))
        for c in range(self.classes):
            votes[:, c] = (weight * (self.labels[near] == c)).sum(1)
        # One neighbour's worth of doubt, so that no class is ever impossible.
        share = (votes + weight.mean(1, keepdims=True) / self.classes) / (weight.sum(1) + weight.mean(1))[:, None]
        return np.asarray(np.log(share))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What to store."""
        return {"vectors": self.vectors, "labels": self.labels}


Probe = Linear | Neighbours


def fit_probe(
    kind: ProbeKind,
    x: Floats,
    y: npt.NDArray[Any],
    groups: Sequence[str],
    *,
    classes: int,
    balance: bool = False,
    k: int = 16,
    seed: int = 0,
) -> Probe:
    """Fit one probe.

    Args:
        kind: `logistic` (L2, strength by inner patient-grouped cross-validation), `prototype` (class means, cosine),
            `knn`, or `ridge` for numbers.
        x: `(n, dim)` unit vectors.
        y: `(n,)` class numbers, or numbers for ridge.
        groups: Patient of each row.
        classes: Number of classes (1 for ridge).
        balance: Weigh classes by the inverse of their frequency.
        k: Neighbours for `knn`.
        seed: Seed of the inner folds.
    """
    if kind == "knn":
        return Neighbours(x, np.asarray(y, np.int64), classes, k)
    if kind == "prototype":
        return _prototype(x, np.asarray(y), classes)
    if kind == "logistic":
        strength = _choose(LOGISTIC_C, x, y, groups, lambda c: _Logistic(c, balance), "class", seed)
        return _Logistic(strength, balance).fit(x, y)
    if kind == "ridge":
        strength = _choose(RIDGE_ALPHA, x, y, groups, _Ridge, "number", seed)
        return _Ridge(strength).fit(x, y)
    raise UsageError("probe kind is not known", item=str(kind), fix="use logistic, prototype, knn or ridge")


def draw_shots(values: Sequence[Value] | Ints, shots: int, seed: int | np.random.Generator) -> list[int]:
    """Indices of at most `shots` cases of each value, without repeats, drawn by seed; ascending.

    Raises:
        UsageError: Fewer than one shot.
    """
    if shots < 1:
        raise UsageError("a head needs cases", item=f"shots={shots}", fix="use 1 or more, or leave it out for all")
    rng = np.random.default_rng(seed)
    names = np.asarray([class_name(v) for v in values])
    drawn = [rng.permutation(np.flatnonzero(names == name))[:shots] for name in np.unique(names)]
    return sorted(int(i) for part in drawn for i in part)


def _prototype(x: Floats, y: npt.NDArray[Any], classes: int) -> Linear:
    means = np.stack([x[y == c].mean(0) for c in range(classes)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return Linear(10.0 * means, np.zeros(classes))


class _Standardise:
    """Columns to mean 0 and standard deviation 1, folded back into the weights afterwards."""

    def __init__(self, x: Floats) -> None:
        self.mean, self.std = x.mean(0), x.std(0)
        self.std = np.where(self.std > 1e-9, self.std, 1.0)

    def __call__(self, x: Floats) -> Floats:
        return np.asarray((x - self.mean) / self.std)

    def fold(self, weight: Floats, bias: Floats) -> Linear:
        w = weight / self.std
        return Linear(np.ascontiguousarray(w), np.asarray(bias - w @ self.mean))


@dataclass(frozen=True)
class _Logistic:
    c: float
    balance: bool

    def fit(self, x: Floats, y: npt.NDArray[Any]) -> Linear:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        scale = _Standardise(x)
        # Standardised columns: a strength per column, so that `c` means the same for every dimension.
        model = LogisticRegression(
            C=self.c / np.sqrt(x.shape[1]), class_weight="balanced" if self.balance else None, max_iter=500
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scale(x), y)
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:  # two classes: one row of log odds
            weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
        return scale.fold(weight, bias)

    def loss(self, scores: Floats, y: npt.NDArray[Any]) -> float:
        log_p = log_softmax(scores, axis=1)
        losses = -log_p[np.arange(len(y)), y]
        if self.balance:
            return float(np.mean([losses[y == c].mean() for c in np.unique(y)]))
        return float(losses.mean())


@dataclass(frozen=True)
class _Ridge:
    alpha: float

    def fit(self, x: Floats, y: npt.NDArray[Any]) -> Linear:
        from sklearn.linear_model import Ridge

        scale = _Standardise(x)
        model = Ridge(alpha=self.alpha).fit(scale(x), np.asarray(y, np.float64))
        return scale.fold(model.coef_[None], np.asarray([model.intercept_], np.float64))

    def loss(self, scores: Floats, y: npt.NDArray[Any]) -> float:
        return float(np.mean((scores[:, 0] - y) ** 2))


def _choose(
    strengths: Sequence[float],
    x: Floats,
    y: npt.NDArray[Any],
    groups: Sequence[str],
    make: Any,
    kind: Literal["class", "number"],
    seed: int,
) -> float:
    """The strength with the lowest held-out loss over three patient-grouped folds; the middle one when data are few."""
    strata = [int(v) for v in y] if kind == "class" else [None] * len(y)
    if len(set(groups)) < 6:
        return strengths[len(strengths) // 2]
    total = np.zeros(len(strengths))
    for train, test in kfold(groups, strata, 3, seed=seed):
        if not len(test) or (kind == "class" and len(np.unique(y[train])) < len(np.unique(y))):
            continue
        for i, strength in enumerate(strengths):
            candidate = make(strength)
            total[i] += candidate.loss(candidate.fit(x[train], y[train]).scores(x[test]), y[test]) * len(test)
    if not total.any():
        return strengths[len(strengths) // 2]
    return strengths[int(np.argmin(total))]
