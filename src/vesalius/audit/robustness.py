"""Robustness to corruptions: balanced error, its published ratios, and a relative error that cannot misbehave.

With e(c, s) the balanced error under corruption c at severity s, and e(0) the clean one:

- `BE_c  = mean_s e(c, s) / b(c)` and `rBE_c = (mean_s e(c, s) - e(0)) / (b(c) - b(0))` as published, b being AlexNet
  (Di Salvo et al. 2024). A baseline that a corruption does not hurt makes the second denominator zero or negative, and
  one such corruption decides the mean.
- `pooled rBE = sum_c (mean_s e(c, s) - e(0)) / sum_c (b(c) - b(0))`: the same question with one denominator.
- `skill loss = (mean e(c, s) - e(0)) / (chance - e(0))`: which share of what the model knows is lost; 0 nothing,
  1 everything. It needs no baseline, and this is the corrected rBE.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vesalius.audit.finding import plain
from vesalius.corruptions import SEVERITIES, corrupt
from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.measure import Measure
from vesalius.metrics.statistics.bootstrap import resample_counts

__all__ = ["Robustness", "alexnet", "balanced_error", "corrupted", "published_scores", "robustness"]

Floats = npt.NDArray[np.float64]
Task = Literal["multi-class", "binary", "multi-label"]


def balanced_error(
    y: npt.ArrayLike, probability: npt.ArrayLike, task: Task = "multi-class", threshold: float | Sequence[float] = 0.5
) -> float:
    """1 - balanced accuracy, as MedMNIST-C measures it.

    Args:
        y: Class index `(n,)`; for `multi-label` 0/1 `(n, labels)`.
        probability: `(n, classes)`; for `binary` also `(n,)`; for `multi-label` `(n, labels)`.
        task: `multi-class` takes the largest column, the others compare with the threshold (strictly above).
        threshold: One number, or one for each label.

    Raises:
        BadInputError: Shapes do not fit, or a label has one class only.
    """
    right, group = _right(np.asarray(y), np.asarray(probability, dtype=np.float64), task, threshold)
    return float(_errors(right[:, :, None], group, np.ones((1, right.shape[0])))[0, 0])


@dataclass(frozen=True)
class Robustness:
    """What corruptions do to a classifier.

    Args:
        clean: Balanced error without corruption.
        errors: Corruption to five balanced errors.
        mean_error: Corruption to its error over all severities.
        skill_loss: Corruption to the share of skill lost (corrected rBE), mean over severities.
        mean_skill_loss: Mean over corruptions.
        be: Corruption to BE, with a baseline.
        rbe: Corruption to rBE as published, with a baseline.
        pooled_rbe: rBE with pooled numerator and denominator.
        baseline: Its name.
        n: Cases.
    """

    clean: float
    errors: Mapping[str, tuple[float, ...]]
    mean_error: Mapping[str, Measure]
    skill_loss: Mapping[str, float]
    mean_skill_loss: Measure
    n: int
    be: Mapping[str, float]
    rbe: Mapping[str, float]
    pooled_rbe: float | None
    baseline: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        out: dict[str, Any] = plain({k: (dict(v) if isinstance(v, Mapping) else v) for k, v in vars(self).items()})
        return out


def robustness(
    images: Sequence[npt.NDArray[np.uint8]],
    y: npt.ArrayLike,
    predict: Callable[[list[npt.NDArray[np.uint8]]], npt.ArrayLike],
    names: Sequence[str],
    *,
    dataset: str = "default",
    task: Task = "multi-class",
    threshold: float | Sequence[float] = 0.5,
    severities: Sequence[int] = SEVERITIES,
    image_ids: Sequence[str | int] | None = None,
    patients: Sequence[Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Robustness:
    """Run a classifier over corrupted copies; only one severity of one corruption is in memory at a time.

    Args:
        images: Pictures.
        y: See `balanced_error`.
        predict: From pictures to probabilities.
        names: Corruptions.
        dataset: Whose severities.
        task: See `balanced_error`.
        threshold: See `balanced_error`.
        severities: Some of 1 to 5.
        image_ids: Stable names of the images.
        patients: Resampled whole.
        baseline: `{"clean": e, "corrupted": {name: mean error}}`, for example `alexnet("dermamnist")`.
        resamples: Bootstrap resamples of the intervals.
        level: Their level.
        seed: Seed of corruptions and resamples.
        progress: Called with a line of text for each corruption.

    Raises:
        BadInputError: No corruption or no severity, shapes that do not fit, or a classifier at chance.
    """
    if not names or not severities:
        raise BadInputError("nothing to corrupt with", why=f"{len(names)} corruptions, {len(severities)} severities")
    truth = np.asarray(y)
    ids = list(range(len(images))) if image_ids is None else list(image_ids)
    right, group = _right(truth, np.asarray(predict(list(images)), dtype=np.float64), task, threshold)
    columns = [right]
    for name, s, worse in corrupted(images, names, dataset=dataset, severities=severities, image_ids=ids, seed=seed):
        if progress and s == severities[0]:
            progress(f"corruption {name}")
        columns.append(_right(truth, np.asarray(predict(worse), dtype=np.float64), task, threshold)[0])
    stack = np.stack(columns, axis=2)
    codes = None if patients is None else np.unique([str(p) for p in patients], return_inverse=True)[1]
    point = _errors(stack, group, np.ones((1, len(images))))[0]
    drawn = np.concatenate(
        [
            _errors(stack, group, c.astype(np.float64))
            for c in resample_counts(len(images), resamples, seed, None, codes)
        ]
    )
    chance = _chance(group, task)
    k = len(severities)

    def mean_of(e: Floats, i: int) -> Floats:
        return np.asarray(e[..., 1 + i * k : 1 + (i + 1) * k].mean(axis=-1))

    def loss_of(e: Floats, i: int) -> Floats:
        room = chance - e[..., 0]
        return np.asarray(np.divide(mean_of(e, i) - e[..., 0], room, out=np.full(room.shape, np.nan), where=room > 0))

    clean = float(point[0])
    if clean >= chance:
        raise BadInputError("robustness means nothing here", why=f"the clean error {clean:.3f} is that of chance")
    # A resample whose clean error is that of chance has no loss for any corruption; it is left out of the interval.
    total = np.mean([loss_of(drawn, i) for i in range(len(names))], axis=0)
    means = {n: float(mean_of(point, i)) for i, n in enumerate(names)}
    be, rbe, pooled = ({}, {}, None) if baseline is None else published_scores(clean, means, baseline)
    loss = {n: float(loss_of(point, i)) for i, n in enumerate(names)}
    return Robustness(
        clean,
        {n: tuple(float(v) for v in point[1 + i * k : 1 + (i + 1) * k]) for i, n in enumerate(names)},
        {n: _interval(means[n], mean_of(drawn, i), level, len(images)) for i, n in enumerate(names)},
        loss,
        _interval(float(np.mean(list(loss.values()))), total, level, len(images)),
        len(images),
        be,
        rbe,
        pooled,
        str(baseline.get("name", "")) if baseline else "",
    )


def corrupted(
    images: Sequence[npt.NDArray[np.uint8]],
    names: Sequence[str],
    *,
    dataset: str = "default",
    severities: Sequence[int] = SEVERITIES,
    image_ids: Sequence[str | int] | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, int, list[npt.NDArray[np.uint8]]]]:
    """(corruption, severity, corrupted copies), one at a time; arguments as for `robustness`."""
    ids = list(range(len(images))) if image_ids is None else list(image_ids)
    for name in names:
        for s in severities:
            yield (
                name,
                s,
                [corrupt(x, name, s, seed=seed, image_id=i, dataset=dataset) for x, i in zip(images, ids, strict=True)],
            )


def published_scores(
    clean: float, means: Mapping[str, float], baseline: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, float], float | None]:
    """(BE, rBE, pooled rBE) against a baseline; a corruption the baseline lacks is left out.

    Returns:
        BE and rBE for each corruption (rBE is infinite or negative where the baseline is not hurt: that is the
        published formula), and the pooled rBE (None when the baseline is not hurt on the whole).
    """
    shared = [n for n in means if n in baseline["corrupted"]]
    base, base_clean = baseline["corrupted"], float(baseline["clean"])
    be = {n: means[n] / base[n] if base[n] else float("inf") for n in shared}
    rbe = {}
    for n in shared:
        below = base[n] - base_clean
        rbe[n] = (means[n] - clean) / below if below else float("inf")
    room = sum(base[n] - base_clean for n in shared)
    pooled = sum(means[n] - clean for n in shared) / room if shared and room > 0 else None
    return be, rbe, pooled


@cache
def _alexnet() -> dict[str, Any]:
    text = (files("vesalius.corruptions") / "alexnet.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def alexnet(dataset: str) -> dict[str, Any]:
    """The published AlexNet errors of a MedMNIST-C set, as a baseline.

    Raises:
        UsageError: No such set.
    """
    known = [k for k in _alexnet() if k != "about"]
    if dataset not in known:
        raise UsageError("no published baseline", item=dataset, fix=f"use one of {', '.join(known)}")
    return {"name": "AlexNet (published)", **_alexnet()[dataset]}


def _right(
    y: npt.NDArray[Any], p: Floats, task: Task, threshold: float | Sequence[float]
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Right (1) or wrong (0) `(n, labels)`, and the class of each case under each label."""
    if task == "multi-label":
        if y.ndim != 2 or y.shape != p.shape:
            raise BadInputError("labels and probabilities differ", why=f"shapes {y.shape} and {p.shape}")
        called = p > np.broadcast_to(np.asarray(threshold, dtype=np.float64), p.shape[1:])
        return (called == (y > 0)).astype(np.float64), y.astype(np.intp)
    truth = y.reshape(-1).astype(np.intp)
    if task == "binary":
        score = p if p.ndim == 1 else p[:, -1]
        called = (score > float(np.asarray(threshold))).astype(np.intp)
    elif p.ndim == 2:
        called = p.argmax(axis=1)
    else:
        raise BadInputError("multi-class needs one column a class", why=f"shape {p.shape}")
    if called.shape != truth.shape:
        raise BadInputError("labels and probabilities differ", why=f"{truth.shape} and {called.shape}")
    return (called == truth).astype(np.float64)[:, None], truth[:, None]


def _errors(right: Floats, group: npt.NDArray[np.intp], counts: Floats) -> Floats:
    """Balanced error for each row of counts `(b, n)` and each run; `right` is `(n, labels, runs)`."""
    _, labels, runs = right.shape
    out = np.zeros((len(counts), runs))
    for label in range(labels):
        classes = np.unique(group[:, label])
        if labels > 1 and len(classes) < 2:
            raise BadInputError("one class only", item=f"label {label}")
        recall = np.zeros((len(counts), runs))
        present = np.zeros((len(counts), 1))
        for c in classes:
            inside = group[:, label] == c
            total = counts[:, inside].sum(axis=1, keepdims=True)
            hit = counts[:, inside] @ right[inside, label]
            recall += np.divide(hit, total, out=np.zeros_like(hit), where=total > 0)
            present += total > 0
        out += 1.0 - recall / np.maximum(present, 1)
    return np.asarray(out / labels)


def _chance(group: npt.NDArray[np.intp], task: Task) -> float:
    return 0.5 if task != "multi-class" else 1.0 - 1.0 / max(len(np.unique(group)), 1)


def _interval(value: float, drawn: Floats, level: float, n: int) -> Measure:
    kept = drawn[np.isfinite(drawn)]
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2]) if len(kept) else (float("nan"), float("nan"))
    return Measure(value, float(low), float(high), level, "bootstrap percentile", n)
