"""A linear probe: ridge logistic regression across patient folds, for questions like "can X be read off Y"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases.splits import kfold
from vesalius.errors import BadInputError

__all__ = ["Probe", "cross_validated", "fit_probe"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted two-class probe: standardise, weigh, squash.

    Args:
        mean: Of each feature.
        scale: Of each feature.
        weight: Of each standardised feature.
        bias: Constant.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: float

    def predict(self, features: npt.ArrayLike) -> Floats:
        """Probabilities `(n,)` of the positive class."""
        x = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x @ self.weight + self.bias, -500, 500))))


def fit_probe(features: npt.ArrayLike, y: npt.ArrayLike, ridge: float = 1.0) -> Probe:
    """Fit by L-BFGS on the mean log loss plus `ridge / (2 n) |w|^2` (features standardised, the constant free).

    Args:
        features: `(n, d)`.
        y: Labels 0/1 `(n,)`.
        ridge: Strength of the penalty, as 1 / C in scikit-learn.

    Raises:
        BadInputError: One class, NaN, or shapes that do not fit.
    """
    from scipy.optimize import minimize

    x, labels = np.asarray(features, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or labels.shape != (len(x),):
        raise BadInputError("cannot fit a probe", why=f"features {x.shape}, labels {labels.shape}")
    if not np.isfinite(x).all():
        raise BadInputError("cannot fit a probe", why="features hold NaN or infinity")
    if labels.min() == labels.max():
        raise BadInputError("cannot fit a probe", why="all labels are the same")
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    z = (x - mean) / scale
    n, d = z.shape
    # With more features than cases, the solution lies in the span of the cases: solve there.
    basis = None
    if d > n:
        left, size, right = np.linalg.svd(z, full_matrices=False)
        z, basis = left * size, right

    def loss(w: Floats) -> tuple[float, Floats]:
        margin = z @ w[:-1] + w[-1]
        p = 1.0 / (1.0 + np.exp(-np.clip(margin, -500, 500)))
        value = float(np.mean(np.logaddexp(0.0, margin) - labels * margin)) + ridge / (2 * n) * float(w[:-1] @ w[:-1])
        error = (p - labels) / n
        return value, np.append(z.T @ error + ridge / n * w[:-1], error.sum())

    start = np.zeros(z.shape[1] + 1)
    rate = labels.mean()
    start[-1] = np.log(rate / (1 - rate))
    w = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "gtol": 1e-7}).x
    weight = w[:-1] if basis is None else w[:-1] @ basis
    return Probe(mean, scale, np.asarray(weight), float(w[-1]))


def cross_validated(
    features: npt.ArrayLike,
    y: npt.ArrayLike,
    patients: Sequence[Any] | None = None,
    *,
    folds: int = 5,
    ridge: float = 1.0,
    seed: int = 0,
) -> Floats:
    """Out-of-fold probabilities `(n,)`; a patient is never in training and test at once.

    Raises:
        UsageError: Fewer patients than folds.
        BadInputError: A training part holds one class only.
    """
    x, labels = np.asarray(features, dtype=np.float64), np.asarray(y, dtype=np.int64)
    groups = [str(i) for i in range(len(x))] if patients is None else [str(p) for p in patients]
    out = np.empty(len(x))
    for train, test in kfold(groups, [int(v) for v in labels], folds, seed=seed):
        out[test] = fit_probe(x[train], labels[train], ridge).predict(x[test])
    return out
