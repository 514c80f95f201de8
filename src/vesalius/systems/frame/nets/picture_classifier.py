"""The plainest kind of system: a net from square 8-bit pictures to classes, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.cases import Image
from vesalius.job import Job
from vesalius.systems.frame.budget import Budget, run_training
from vesalius.systems.frame.inputs import pictures
from vesalius.systems.frame.model import ClassifierModel, Floats

Pictures = npt.NDArray[np.uint8]
#: From the pictures of a batch, their indices, the step's number and a generator to the pictures that are trained on.
Change = Callable[[Pictures, npt.NDArray[np.int64], int, np.random.Generator], Pictures]
_AT_ONCE = 128


class PictureModel(ClassifierModel):
    """`net` takes `(n, 3, side, side)` 8-bit pictures to logits; `config["side"]` is the side."""

    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities."""
        return self.predict_pictures(pictures(images, int(self.config["side"])))

    @torch.inference_mode()
    def predict_pictures(self, array: Pictures) -> Floats:
        """`(n, classes)` probabilities of pictures that have the side already."""
        out = np.empty((len(array), len(self.classes)))
        for start in range(0, len(array), _AT_ONCE):
            part = torch.from_numpy(array[start : start + _AT_ONCE]).to(self.device)
            out[start : start + _AT_ONCE] = self.net(part).double().softmax(1).cpu().numpy()
        return out


def fit_pictures(
    model: PictureModel,
    array: Pictures,
    y: npt.NDArray[np.int64],
    budget: Budget,
    job: Job,
    *,
    batch: int,
    change: Change | None = None,
    **plan: Any,
) -> None:
    """Cross-entropy on batches that hold each class as often as the others, since balanced error is what counts.

    Args:
        model: Trained in place.
        array: `(n, 3, side, side)` pictures.
        y: `(n,)` class numbers.
        budget: How much.
        job: Seed, and who is told.
        batch: Pictures in a batch.
        change: Augmentation.
        plan: More fields of `training.loop.Plan`.
    """
    classes = [np.flatnonzero(y == k) for k in np.unique(y)]

    def step(number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = np.concatenate([rng.choice(of, -(-batch // len(classes))) for of in classes])
        x = array[i] if change is None else change(array[i], i, number, rng)
        logits = model.net(torch.from_numpy(np.ascontiguousarray(x)).to(model.device))
        return {"classes": F.cross_entropy(logits, torch.from_numpy(y[i]).to(model.device))}

    run_training(model, step, budget, job, **plan)
