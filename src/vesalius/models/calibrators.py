"""From scores to probabilities that mean what they say, fitted on held-out scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import softmax as _softmax

from vesalius.errors import BadInputError

Floats = npt.NDArray[np.float64]
CalibrationKind = Literal["none", "temperature", "isotonic"]


@dataclass(frozen=True)
class Calibrator:
    """Softmax at a temperature, then (isotonic) a monotone step function for each class, renormalised.

    Args:
        kind: `none`, `temperature` (Guo et al., ICML 2017) or `isotonic` (Zadrozny and Elkan, KDD 2002).
        temperature: Scores are divided by it.
        x: For isotonic: for each class the breakpoints (probabilities before).
        y: For isotonic: the values there (probabilities after).
    """

    kind: CalibrationKind = "none"
    temperature: float = 1.0
    x: tuple[tuple[float, ...], ...] = ()
    y: tuple[tuple[float, ...], ...] = ()

    def __call__(self, scores: Floats) -> Floats:
        """`(n, classes)` probabilities that sum to 1."""
        p = probabilities(scores / self.temperature)
        if self.kind != "isotonic":
            return p
        mapped = np.stack([np.interp(p[:, c], self.x[c], self.y[c]) for c in range(p.shape[1])], axis=1)
        total = mapped.sum(1, keepdims=True)
        return np.where(total > 0, mapped / np.where(total > 0, total, 1.0), 1.0 / p.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kind": self.kind,
            "temperature": self.temperature,
            "x": [list(v) for v in self.x],
            "y": [list(v) for v in self.y],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Calibrator:
        """Read back what `to_dict` wrote."""
        return cls(data["kind"], float(data["temperature"]), tuple(map(tuple, data["x"])), tuple(map(tuple, data["y"])))


def fit_calibrator(kind: CalibrationKind, scores: Floats, y: npt.NDArray[Any]) -> Calibrator:
    """Fit on scores of cases that the scorer has not seen.

    Args:
        kind: `none`, `temperature` or `isotonic`.
        scores: `(n, classes)` held-out scores.
        y: `(n,)` class numbers.
    """
    if kind == "none":
        return Calibrator()
    if kind == "temperature":
        from scipy.optimize import minimize_scalar

        def loss(log_t: float) -> float:
            p = probabilities(scores / np.exp(log_t))
            return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).mean())

        best = minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded")
        return Calibrator("temperature", float(np.exp(best.x)))
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        p = probabilities(scores)
        # Two classes: one curve serves both, so that the two columns go on summing to 1 by themselves.
        columns = [1] if p.shape[1] == 2 else range(p.shape[1])
        fitted = [IsotonicRegression(y_min=0.0, y_max=1.0).fit(p[:, c], (y == c).astype(float)) for c in columns]
        xs = [tuple(float(v) for v in f.X_thresholds_) for f in fitted]
        ys = [tuple(float(v) for v in f.y_thresholds_) for f in fitted]
        if p.shape[1] == 2:
            xs = [tuple(1 - v for v in reversed(xs[0])), xs[0]]
            ys = [tuple(1 - v for v in reversed(ys[0])), ys[0]]
        return Calibrator("isotonic", 1.0, tuple(xs), tuple(ys))
    raise BadInputError("calibration is not known", item=str(kind), fix="use none, temperature or isotonic")


def probabilities(scores: Floats) -> Floats:
    """Rows of scores to probabilities."""
    return np.asarray(_softmax(scores, axis=1))
