"""Losses of one step on image-text pairs for an encoder that takes either side alone: contrast, and matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import BadInputError
from vesalius.losses.contrastive import multi_positive
from vesalius.systems.represent.ptunifier.net import UnifiedPair

#: Temperature of the contrast, fixed as published.
TEMPERATURE = 0.1
#: Weights of the losses. `training.loop` refuses a step that leaves one of them out.
WEIGHTS = {"itc": 1.0, "itm": 0.5}


@dataclass(frozen=True, eq=False)
class Sentences:
    """Sentences as frozen word embeddings.

    Args:
        embeddings: `(m, t, word_dim)`, [CLS] first.
        real: `(m, t)` True where a word is no padding.
    """

    embeddings: Tensor
    real: Tensor

    def __getitem__(self, i: Sequence[int]) -> tuple[Tensor, Tensor]:
        real = self.real[i]
        most = int(real.sum(1).max())  # padding that no sentence of the batch needs costs time alone
        return self.embeddings[i][:, :most], real[:, :most]


def pair_step(
    net: UnifiedPair, cells: Tensor, words: Sentences, said: Sequence[Sequence[int]], *, batch: int = 32
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: contrast between images alone and texts alone, and which pairs belong together.

    Args:
        net: What is trained.
        cells: `(n, cells, cell_dim)` of the images.
        words: Every sentence.
        said: For each image the sentences that are true of it; one is drawn each time.
        batch: Pairs in a step.

    Raises:
        BadInputError: An image has no sentence, or all images share one.
    """
    if len(said) != len(cells) or not all(said):
        raise BadInputError("images and sentences do not pair", why=f"{len(cells)} images, {len(said)} with sentences")
    if len({tuple(s) for s in said}) < 2:
        raise BadInputError("nothing to tell apart", why="every image has the same sentences")
    owner = [frozenset(s) for s in said]

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = rng.choice(len(said), min(batch, len(said)), replace=False)
        chosen = [int(rng.choice(said[k])) for k in i]
        x, (w, real) = cells[i], words[chosen]
        image, text = net.vector(net(x)), net.vector(net(words=w, real=real))
        # A sentence is a positive of every image it is true of: sentences repeat in a batch.
        true = torch.tensor([[s in owner[k] for s in chosen] for k in i], device=x.device)
        losses = {"itc": multi_positive(image @ text.T / TEMPERATURE, true)}
        # Half of the pairs get another picture of the batch, one of which their sentence is not true.
        wrong = (~true).T.cpu().numpy()
        swap = (rng.random(len(i)) < 0.5) & wrong.any(1)
        other = [int(rng.choice(np.flatnonzero(wrong[k]))) if swap[k] else k for k in range(len(i))]
        target = torch.from_numpy((~swap).astype(np.int64)).to(x.device)
        losses["itm"] = F.cross_entropy(net.match(net(x[other], w, real)), target)
        return losses

    return step
