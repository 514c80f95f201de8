"""Predictions held against values that are known: which class a value stands for, and which cases are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import UsageError
from vesalius.metrics.evaluation import Evaluation, evaluate_classes, evaluate_numbers

__all__ = ["Against", "against_classes", "against_numbers"]


@dataclass(frozen=True)
class Against:
    """What predictions are worth.

    Args:
        evaluation: The figures, on the cases whose value is one of the classes.
        left_out: Value that is none of the classes to how many cases have it; "" for those whose value is not known.
    """

    evaluation: Evaluation
    left_out: Mapping[str, int]


def against_classes(
    probability: npt.NDArray[np.float64],
    truth: Sequence[Any],
    classes: Sequence[str],
    groups: Sequence[str],
    *,
    target: str = "",
    seed: int = 0,
) -> Against:
    """Figures of class probabilities; every class counts, also one that no case has.

    Args:
        probability: `(n, classes)`.
        truth: `(n,)` values, None where not known.
        classes: Names.
        groups: Patient of each case.
        target: Name of the truth: where it is one of two classes, 1 and 0 stand for that class and the other.
        seed: Seed of the intervals.

    Raises:
        UsageError: No case has a value that is one of the classes.
    """
    lower = [c.lower() for c in classes]
    column = [_column(v, lower, target.lower()) for v in truth]
    usable = [i for i, c in enumerate(column) if c is not None]
    if not usable:
        said = ", ".join(sorted({str(v) for v in truth if v is not None})[:6]) or "none"
        raise UsageError(
            "cannot measure against the truth",
            item=target,
            why=f"none of its values ({said}) is one of the classes ({', '.join(classes)})",
            fix="use the truth's own values as --labels",
        )
    out = Counter("" if v is None else str(v) for v, c in zip(truth, column, strict=True) if c is None)
    evaluation = evaluate_classes(
        np.asarray([column[i] for i in usable]),
        probability[usable],
        list(classes),
        [groups[i] for i in usable],
        seed=seed,
    )
    return Against(evaluation, dict(sorted(out.items())))


def against_numbers(
    predicted: npt.NDArray[np.float64], truth: Sequence[Any], groups: Sequence[str], *, seed: int = 0
) -> Against:
    """Figures of predicted numbers `(n,)`; cases whose value is no number are left out.

    Raises:
        UsageError: No case has a number.
    """
    usable = [i for i, v in enumerate(truth) if isinstance(v, int | float)]
    if not usable:
        raise UsageError("cannot measure against the truth", why="no case has a number there")
    out = Counter("" if v is None else str(v) for v in truth if not isinstance(v, int | float))
    y = np.asarray([float(truth[i]) for i in usable])
    evaluation = evaluate_numbers(y, predicted[usable], [groups[i] for i in usable], seed=seed)
    return Against(evaluation, dict(sorted(out.items())))


def _column(value: Any, lower: Sequence[str], target: str) -> int | None:
    if value is None:
        return None
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).lower()
    if text in lower:
        return lower.index(text)
    if len(lower) == 2 and target in lower and text in ("0", "1"):  # a finding and its absence, by name
        one = lower.index(target)
        return one if text == "1" else 1 - one
    return None
