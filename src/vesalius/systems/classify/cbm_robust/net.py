"""A linear head on named scores, which sees nothing else: the class is told by concepts or not at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConceptBottleneck(nn.Module):
    """Cosines of an image with concepts, standardised, then one linear layer.

    After "Robust and Interpretable Medical Image Classifiers via Concept Bottleneck Models" (arXiv 2310.03182). Raw
    cosines of a dual encoder differ by less than 0.1, so each score is brought to mean 0 and deviation 1 of the
    training set first; the figures are part of the module.

    Args:
        concepts: How many concepts.
        dim: Length of a text vector.
        classes: Classes.
    """

    texts: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, concepts: int, dim: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("texts", torch.zeros(concepts, dim))
        self.register_buffer("mean", torch.zeros(concepts))
        self.register_buffer("std", torch.ones(concepts))
        self.head = nn.Linear(concepts, classes)

    def raw(self, vectors: Tensor) -> Tensor:
        """`(n, concepts)` cosines: of `(n, d)` unit vectors, or the largest over patches of `(n, patches, d)`."""
        cosines = vectors @ self.texts.T
        return cosines if cosines.ndim == 2 else cosines.amax(1)

    def standardise(self, raw: Tensor) -> None:
        """Take mean and deviation from `(n, concepts)` scores of the training set; a score that never varies is 0."""
        spread, mean = torch.std_mean(raw, 0, correction=0)
        self.mean.copy_(mean)
        self.std.copy_(torch.where(spread > 1e-6, spread, torch.inf))

    def scores(self, vectors: Tensor) -> Tensor:
        """`(n, concepts)` standardised scores, all that the head sees."""
        return (self.raw(vectors) - self.mean) / self.std

    def forward(self, scores: Tensor) -> Tensor:
        """`(n, classes)` logits from standardised scores."""
        out: Tensor = self.head(scores)
        return out

    def contributions(self, scores: Tensor) -> Tensor:
        """`(n, classes, concepts)` share of each concept in each logit; with the bias they sum to it."""
        return scores[:, None] * self.head.weight[None]
