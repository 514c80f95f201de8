"""Bringing images and sentences together on vectors that frozen towers gave: the cheap half of a dual encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import BadInputError
from vesalius.losses.contrastive import multi_positive
from vesalius.nn.convnet import conv_stack
from vesalius.training.loop import Plan, train_loop

Targets = Literal["unicl", "clip"]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Aligner(nn.Module):
    """Adapters that carry image and text vectors into one space of unit vectors.

    Args:
        image_dim: Length of an image vector.
        text_dim: Length of a text vector.
        dim: Length in the shared space.
        hidden: Width of the image adapter.
        scale: Inverse temperature at the start.
    """

    image_adapter: nn.Module

    def __init__(self, image_dim: int, text_dim: int, dim: int = 128, hidden: int = 256, scale: float = 10.0) -> None:
        super().__init__()
        self.image_adapter = nn.Sequential(
            nn.LayerNorm(image_dim), nn.Linear(image_dim, hidden), nn.GELU(), nn.Linear(hidden, dim)
        )
        self.text_adapter = nn.Linear(text_dim, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def image(self, vectors: Tensor) -> Tensor:
        """`(n, image_dim)` to `(n, dim)` unit vectors."""
        return F.normalize(self.image_adapter(vectors), dim=1)

    def text(self, vectors: Tensor) -> Tensor:
        """`(m, text_dim)` to `(m, dim)` unit vectors."""
        return F.normalize(self.text_adapter(vectors), dim=1)

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, at most 100 as in CLIP."""
        return self.log_scale.exp().clamp(max=100.0)


class PictureAligner(Aligner):
    """The same with an image tower of its own: grey pictures of 64 pixels through a few convolutions.

    Small enough to be trained on captions in seconds; it sees what captions speak of, marks in corners among it.

    Args:
        text_dim: Length of a text vector.
        dim: Length in the shared space.
    """

    SIDE, DIM = 64, 64

    def __init__(self, text_dim: int, dim: int = DIM) -> None:
        super().__init__(1, text_dim, dim)
        cells = (self.SIDE // 16) ** 2
        self.image_adapter = nn.Sequential(conv_stack(1, (16, 32, 64, 64)), nn.Flatten(), nn.Linear(64 * cells, dim))


def alignment_step(
    net: Aligner,
    images: Floats,
    texts: Floats,
    true: Bools,
    *,
    batch: int = 64,
    targets: Targets = "unicl",
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """A training step: a batch of images, one true sentence drawn for each, contrast.

    With `unicl` every sentence of the batch that is true of an image is a positive of it; with `clip` only the one
    that was drawn for it, so that another sentence about the same finding counts as wrong. Where sentences are equal,
    the two losses differ by a constant only.

    Args:
        net: What is trained.
        images: `(n, image_dim)` vectors of the images, or what else the net's image side takes.
        texts: `(m, text_dim)` vectors of all sentences.
        true: `(n, m)` whether a sentence is true of an image; images without a true sentence are not drawn.
        batch: Images in a step.
        targets: Which pairs are positives.

    Raises:
        BadInputError: No image has a true sentence, or the shapes do not fit.
    """
    if true.shape != (len(images), len(texts)):
        raise BadInputError("truth does not fit", item=str(true.shape), why=f"{len(images)} images, {len(texts)} texts")
    usable = np.flatnonzero(true.any(1))
    if not len(usable):
        raise BadInputError("nothing to align", item="images and sentences", why="no sentence is true of any image")
    x, t = torch.from_numpy(images), torch.from_numpy(texts)
    choices: Sequence[npt.NDArray[np.int64]] = [np.flatnonzero(row) for row in true]

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        i = rng.choice(usable, min(batch, len(usable)), replace=False)
        said = np.asarray([rng.choice(choices[k]) for k in i])
        positive = torch.from_numpy(true[np.ix_(i, said)]) if targets == "unicl" else torch.eye(len(i))
        device = net.log_scale.device
        logits = net.scale * net.image(x[i].to(device)) @ net.text(t[said].to(device)).T
        return {"contrast": multi_positive(logits, positive.to(device))}

    return step


def train_pictures(pictures: Floats, texts: Floats, true: Bools, steps: int, seed: int) -> PictureAligner:
    """A small dual encoder trained on captions from nothing; arguments as for `alignment_step`.

    Args:
        pictures: `(n, 1, 64, 64)` in [0, 1].
        texts: `(m, text_dim)` vectors of all captions.
        true: `(n, m)` whether a caption is true of a picture.
        steps: Optimiser steps.
        seed: Seed of weights and draws.
    """
    torch.manual_seed(seed)
    net = PictureAligner(texts.shape[1])
    train_loop(net, alignment_step(net, pictures, texts, true), Plan(steps=steps, learning_rate=2e-3, seed=seed))
    return net
