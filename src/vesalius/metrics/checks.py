"""Input checks that all metrics share: a wrong input is a named error, never a silent number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vesalius.errors import BadInputError

__all__ = [
    "binary_labels",
    "binary_scores",
    "case_weights",
    "class_labels",
    "finite",
    "fraction",
    "probabilities",
    "same_length",
]

Floats = NDArray[np.float64]


def finite(values: ArrayLike, name: str, *, ndim: int | None = 1) -> Floats:
    """`values` as float64, refused when not numeric, of another rank, or with NaN or infinity in it.

    Args:
        values: Array-like of numbers.
        name: What to call it in the error.
        ndim: Required number of dimensions; `None` for any.

    Returns:
        A float64 array.

    Raises:
        BadInputError: As above.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"cannot use {name}", why="it is not an array of numbers") from error
    if ndim is not None and array.ndim != ndim:
        raise BadInputError(f"cannot use {name}", why=f"it has shape {array.shape}, {ndim} dimension(s) are needed")
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise BadInputError(
            f"cannot use {name}",
            why=f"{bad} of {array.size} values are NaN or infinite",
            fix="remove or impute them first",
        )
    return array


def same_length(*named: tuple[str, NDArray[Any]]) -> int:
    """Common length of several arrays.

    Raises:
        BadInputError: They differ, or are empty.
    """
    lengths = {len(array) for _, array in named}
    if len(lengths) != 1:
        raise BadInputError(
            "inputs differ in length", why=", ".join(f"{name} has {len(array)}" for name, array in named)
        )
    (n,) = lengths
    if n == 0:
        raise BadInputError("nothing to measure", why=f"{' and '.join(name for name, _ in named)} are empty")
    return n


def binary_labels(y: ArrayLike, name: str = "y") -> NDArray[np.bool_]:
    """Labels 0/1 or False/True as booleans, shape `(n,)`.

    Raises:
        BadInputError: Another value occurs (unknown and uncertain labels must be removed first).
    """
    array = finite(y, name)
    if not np.isin(array, (0.0, 1.0)).all():
        odd = sorted({float(v) for v in np.unique(array) if v not in (0.0, 1.0)})[:5]
        raise BadInputError(
            f"cannot use {name}",
            why=f"labels must be 0 or 1, found {odd}",
            fix="remove unknown and uncertain cases first",
        )
    return array.astype(bool)


def binary_scores(y: ArrayLike, score: ArrayLike, *, both_classes: bool = True) -> tuple[NDArray[np.bool_], Floats]:
    """Checked labels and scores of a two-class problem, shapes `(n,)`.

    Args:
        y: Labels 0/1.
        score: Finite scores, larger meaning more likely positive.
        both_classes: Refuse input with one class only.

    Returns:
        `(labels, scores)`.

    Raises:
        BadInputError: Wrong values, lengths, or one class.
    """
    labels, scores = binary_labels(y), finite(score, "score")
    n = same_length(("y", labels), ("score", scores))
    positives = int(labels.sum())
    if both_classes and positives in (0, n):
        raise BadInputError(
            "one class only",
            why=f"all {n} cases are {'positive' if positives else 'negative'}, the measure needs both",
            fix="add cases of the other class or leave this label out",
        )
    return labels, scores


def class_labels(y: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[Any]]:
    """Two label vectors as indices into their sorted common classes.

    Args:
        y: True labels (numbers or strings), shape `(n,)`.
        predicted: Predicted labels, shape `(n,)`.

    Returns:
        `(indices of y, indices of predicted, classes)`.

    Raises:
        BadInputError: Lengths differ, empty, or NaN among the labels.
    """
    true, guess = np.asarray(y), np.asarray(predicted)
    for name, array in (("y", true), ("predicted", guess)):
        if array.ndim != 1:
            raise BadInputError(f"cannot use {name}", why=f"it has shape {array.shape}, one label a case is needed")
        if array.dtype.kind == "f":
            finite(array, name)
    n = same_length(("y", true), ("predicted", guess))
    if (true.dtype.kind in "US") != (guess.dtype.kind in "US"):
        raise BadInputError("labels differ in kind", why="one side holds strings, the other numbers")
    classes, index = np.unique(np.concatenate([true, guess]), return_inverse=True)
    return index[:n], index[n:], classes


def probabilities(values: ArrayLike, name: str = "probability", *, ndim: int | None = 1) -> Floats:
    """Finite values within [0, 1].

    Raises:
        BadInputError: Values outside, as logits would be: vesalius never guesses which they are.
    """
    array = finite(values, name, ndim=ndim)
    if array.size and (array.min() < 0.0 or array.max() > 1.0):
        raise BadInputError(
            f"cannot use {name}",
            why=f"values run from {array.min():.4g} to {array.max():.4g}, probabilities lie in [0, 1]",
            fix="apply a sigmoid or softmax first if these are logits",
        )
    return array


def fraction(value: float, name: str, *, open_low: bool = False, open_high: bool = False) -> float:
    """A number within [0, 1].

    Raises:
        BadInputError: It lies outside (or on an end that is excluded).
    """
    number = float(value)
    low_ok = number > 0.0 if open_low else number >= 0.0
    high_ok = number < 1.0 if open_high else number <= 1.0
    if not (low_ok and high_ok):
        brackets = ("(" if open_low else "[") + "0, 1" + (")" if open_high else "]")
        raise BadInputError(f"cannot use {name}", why=f"{value} is not in {brackets}")
    return number


def case_weights(weight: ArrayLike | None, n: int) -> Floats:
    """Weights of `n` cases, ones by default.

    Raises:
        BadInputError: Negative, not finite, of another length, or all zero.
    """
    if weight is None:
        return np.ones(n)
    array = finite(weight, "weight")
    if len(array) != n:
        raise BadInputError("inputs differ in length", why=f"{len(array)} weights for {n} cases")
    if (array < 0).any() or not array.any():
        raise BadInputError("cannot use weight", why="weights must not be negative and not all zero")
    return array
