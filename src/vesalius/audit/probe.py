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
    """Fit scikit-learn's logistic regression on standardised features, with a free constant.

    Args:
        features: `(n, d)`.
        y: Labels 0/1 `(n,)`.
        ridge: Strength of the penalty, 1 / C.

    Raises:
        BadInputError: One class, NaN, or shapes that do not fit.
    """
    from sklearn.linear_model import LogisticRegression

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

    model = LogisticRegression(C=1 / ridge, tol=1e-7, max_iter=1000).fit(z, labels)
    w, bias = model.coef_[0], float(model.intercept_[0])
    weight = w if basis is None else w @ basis
    return Probe(mean, scale, np.asarray(weight), bias)


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
