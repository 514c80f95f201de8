"""How an audit asks a model: whole cases or images, the pictures as they are or changed, answers checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.audit.inputs import Inputs, Scorer
from vesalius.errors import UsageError
from vesalius.models.protocols import CaseClassifier
from vesalius.render.display import as_shown

__all__ = ["Asker"]

Floats = npt.NDArray[np.float64]
#: Cases handed to a model at once: its own batches are smaller, and what it holds of them stays bounded.
_PART = 256


@dataclass(frozen=True, eq=False)
class Asker:
    """A model, the cases, and which of its columns is the audited class.

    Args:
        model: The classifier. One that reads whole cases (`CaseClassifier`) is given them, table and all.
        inputs: The cases.
        column: Column of the positive class.
    """

    model: Scorer
    inputs: Inputs
    column: int

    def all(self) -> Floats:
        """`(n,)` probability of the positive class of every case as it is."""
        parts = [range(k, min(k + _PART, len(self.inputs))) for k in range(0, len(self.inputs), _PART)]
        return np.concatenate([self._ask(part, None) for part in parts])

    def alone(self, pictures: Sequence[npt.NDArray[Any]], where: Sequence[int]) -> Floats:
        """Of pictures and nothing else of cases `where`: for what asks how much a part of the image gives away.

        A table that the model reads too would be taken for a shortcut.
        """
        images = [as_shown(self.inputs.images[i], np.asarray(a)) for i, a in zip(where, pictures, strict=True)]
        return _checked(self.model.predict_proba(images), self.column, len(images))

    def changed(self, pictures: Sequence[npt.NDArray[Any]], where: Sequence[int]) -> Floats:
        """The same with other pictures in place of the images of cases `where`.

        Only the first image is changed; what else the model knows of the case (another image, its table) stays.
        """
        return self._ask(where, pictures)

    def _ask(self, where: Sequence[int], pictures: Sequence[npt.NDArray[Any]] | None) -> Floats:
        images = [self.inputs.images[i] for i in where]
        if pictures is not None:
            images = [as_shown(i, np.asarray(a)) for i, a in zip(images, pictures, strict=True)]
        if isinstance(self.model, CaseClassifier):
            cases = [self.inputs.cases[i] for i in where]
            if pictures is not None:
                cases = [c.replace(images=(i, *c.images[1:])) for c, i in zip(cases, images, strict=True)]
            table = self.model.predict_cases(cases)
        else:
            table = self.model.predict_proba(images)
        return _checked(table, self.column, len(images))


def _checked(probability: npt.ArrayLike, column: int, n: int) -> Floats:
    table = np.asarray(probability, dtype=np.float64)
    if table.ndim != 2 or len(table) != n:
        raise UsageError("the model does not give probabilities", why=f"shape {table.shape} for {n} images")
    if not np.isfinite(table).all() or table.min() < 0 or table.max() > 1:
        raise UsageError("the model does not give probabilities", why="values outside [0, 1]")
    return np.asarray(table[:, column])
