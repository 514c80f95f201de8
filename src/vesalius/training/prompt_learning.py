"""Learned words in front of a class name: only they are trained, the text tower stays as it is (CoOp, IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vesalius.models.nano.minilm import MiniLM


class WordEncoder(Protocol):
    """A dual encoder whose text side takes word embeddings."""

    @property
    def text_tower(self) -> MiniLM:
        """Tokeniser and word embeddings."""
        ...

    def encode_words(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """`(n, d)` unit vectors of the shared space."""
        ...


class PromptLearner(nn.Module):
    """Context words shared by all classes, spliced in after [CLS]: `[CLS] [context] class name . [SEP]`.

    Args:
        encoder: Frozen dual encoder; not part of this module's weights.
        start: Words whose embeddings the context starts from; their number is the context's length.
    """

    def __init__(self, encoder: WordEncoder, start: str = "a photo of a") -> None:
        super().__init__()
        self._encoder = [encoder]  # in a list, so that its weights are neither saved nor trained with this module
        ids, mask = encoder.text_tower.tokens([start])
        inner = ids[0, 1 : int(mask[0].sum()) - 1]
        self.context = nn.Parameter(encoder.text_tower.word_embeddings(inner).detach().clone())

    def forward(self, names: Sequence[str]) -> Tensor:
        """`(classes, d)` unit vectors of class names in the learned context."""
        encoder = self._encoder[0]
        ids, mask = encoder.text_tower.tokens([f"{name}." for name in names])
        words = encoder.text_tower.word_embeddings(ids)
        context = self.context.to(words.device).expand(len(names), -1, -1)
        spliced = torch.cat([words[:, :1], context, words[:, 1:]], 1)
        return encoder.encode_words(spliced, torch.cat([mask[:, :1], mask.new_ones(context.shape[:2]), mask[:, 1:]], 1))


def draw_shots(y: npt.NDArray[np.int64], shots: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of `shots` cases of each class, without repeats; all of a class that has fewer."""
    return np.concatenate([rng.permutation(np.flatnonzero(y == k))[:shots] for k in np.unique(y)])
