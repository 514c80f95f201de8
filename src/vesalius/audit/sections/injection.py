"""Section `injection`: a class name burned into the picture, against its own letters shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.context import Context
from vesalius.audit.injection import injection_audit
from vesalius.errors import BadInputError

#: Pictures written on at most: each is scored seventeen times.
_MOST = 120


def run(context: Context) -> None:
    """Test the shift towards each word at each size."""
    s, inputs = context.settings, context.inputs
    if not inputs.flat:
        raise BadInputError("the images are not single pictures")
    index = [int(i) for i in inputs.one_a_patient(s.seed, min(_MOST, s.most_pictures))]

    def predict(arrays: list[npt.NDArray[Any]], where: Sequence[int]) -> npt.NDArray[np.float64]:
        return context.asker.changed(arrays, [index[int(i)] for i in where])

    found = injection_audit(
        [context.picture(i) for i in index], inputs.y[index], predict, _words(context),
        keys=[inputs.cases[i].id for i in index], threshold=s.threshold, level=s.level, seed=s.seed,
    )  # fmt: skip
    if not found:
        raise BadInputError("fewer than 10 patients of each class")
    context.findings += found
    for f in found:
        name = f.name.replace(":", ".")
        context.put(name, f.measure)
        context.put(f"{name}.flip_rate", f.details["written"])


def _words(context: Context) -> tuple[str, str]:
    """(what is written to raise the probability, what is written to lower it)."""
    zero, column = context.zero_shot(), context.asker.column
    if zero is not None:
        return zero.classes[column], next(c for k, c in enumerate(zero.classes) if k != column)
    wanted = context.settings.target.replace("_", " ")
    return wanted, f"no {wanted}"
