"""Image-blind baselines: what is left of a score when the model cannot see, or sees the wrong patient.

A model whose answers are as good on blank or exchanged images has not used them. And a logistic regression on age,
sex and view shows how far one gets without any image (the tabular control of "Mask of truth").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import Finding
from vesalius.audit.probe import cross_validated
from vesalius.corruptions.keys import generator
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.classification.scores import auroc
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.metrics.statistics.inference import delong, delong_paired
from vesalius.metrics.statistics.intervals import wilson

__all__ = ["blank", "blind_answers", "encode", "metadata_baseline"]

How = Literal["mean", "black", "noise", "exchange"]


def blank(images: Sequence[npt.NDArray[Any]], how: How = "exchange", *, seed: int = 0) -> list[npt.NDArray[Any]]:
    """Images that carry nothing about their case.

    Args:
        images: Pictures.
        how: `mean` (flat, own mean: keeps brightness), `black`, `noise` (uniform), `exchange` (another case's image).
        seed: Seed.
    """
    rng = generator("blind", seed, how)
    if how == "exchange":
        n = len(images)
        # One long cycle: no case keeps its own image.
        order = rng.permutation(n)
        source = np.empty(n, dtype=int)
        source[order] = np.roll(order, 1)
        return [images[i] for i in source]
    out = []
    for x in images:
        z = np.zeros_like(x)
        if how == "mean":
            z[...] = x.mean()
        elif how == "noise":
            top = np.iinfo(x.dtype).max if x.dtype.kind in "iu" else 1.0
            z[...] = (rng.random(x.shape) * top).astype(x.dtype)
        elif how != "black":
            raise UsageError("unknown way to blind", item=str(how), fix="use mean, black, noise or exchange")
        out.append(z)
    return out


def blind_answers(
    right_seeing: npt.ArrayLike,
    right_blind: npt.ArrayLike,
    level: float = 0.95,
    *,
    patients: Sequence[Any] | None = None,
) -> Finding:
    """Answers with and without the image, case by case: what the image adds, with the exact test of McNemar.

    Args:
        right_seeing: Right (1) or wrong (0) with the image, `(n,)`.
        right_blind: The same questions without it.
        level: Level of the interval.
        patients: Patient of each question, for the interval of the difference.

    Returns:
        A finding whose number is the difference of accuracies (0: the image adds nothing). Its p-value is that of
        "the image adds nothing"; it is no alarm when small but when large, so `p` is None and the value is in details.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(right_seeing, dtype=bool), np.asarray(right_blind, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise BadInputError("answers differ in number", why=f"{a.shape} and {b.shape}")
    gained, lost = int((a & ~b).sum()), int((~a & b).sum())
    p = float(binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue) if gained + lost else 1.0
    gain = (gained - lost) / len(a)
    return Finding(
        "blind",
        "blind:answers",
        f"the image adds {gain:+.3f} to accuracy {a.mean():.3f} (blind {b.mean():.3f}); p = {p:.2g} for no gain",
        bootstrap_mean(a.astype(float) - b, resamples=2000, groups=patients, level=level),
        details={
            "seeing": wilson(int(a.sum()), len(a), level),
            "blind": wilson(int(b.sum()), len(a), level),
            "p_no_gain": p,
        },
    )


def encode(attributes: Mapping[str, Sequence[Any]], most_values: int = 12) -> npt.NDArray[np.float64]:
    """Attributes as numbers `(n, d)`: a number and whether it is missing, or one column for each value of a text."""
    columns: list[npt.NDArray[np.float64]] = []
    for name in sorted(attributes):
        values = list(attributes[name])
        missing = np.asarray([v is None or v == "" or v != v for v in values])
        present = [v for v, m in zip(values, missing, strict=True) if not m]
        if not present:
            continue
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in present):
            middle = float(np.median(np.asarray(present, dtype=float)))
            columns.append(np.asarray([middle if m else float(v) for v, m in zip(values, missing, strict=True)]))
            if missing.any():
                columns.append(missing.astype(float))
            continue
        levels = sorted({str(v) for v in present})
        if len(levels) <= most_values:
            columns += [
                np.asarray([0.0 if m else float(str(v) == level) for v, m in zip(values, missing, strict=True)])
                for level in levels
            ]
    if not columns:
        raise BadInputError("no attribute can be used", why="all are missing or have too many values")
    return np.stack(columns, axis=1)


def metadata_baseline(
    y: npt.ArrayLike,
    score: npt.ArrayLike,
    attributes: Mapping[str, Sequence[Any]],
    *,
    patients: Sequence[Any] | None = None,
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> Finding:
    """How well attributes alone tell the classes, and whether the model is better than that (paired DeLong)."""
    labels = np.asarray(y).astype(int)
    table = cross_validated(encode(attributes), labels, patients, folds=folds, seed=seed)
    area = delong(labels, table, level)
    details: dict[str, Any] = {"model": auroc(labels, score), "attributes": sorted(attributes)}
    try:
        test = delong_paired(labels, np.asarray(score, dtype=float), table, level)
        details |= {"model_minus_metadata": test, "p": test.p}
    except BadInputError:
        pass
    names = ", ".join(sorted(attributes))
    text = f"{names} alone, without the image: AUROC {area.value:.3f}; the model {details['model']:.3f}"
    return Finding("blind", "blind:metadata", text, area, 0.5, details=details)
