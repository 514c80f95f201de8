"""Learned words in front of a class name: only they are trained, the text tower stays as it is (CoOp, IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vesalius.systems.frame.frozen import Words


class PromptLearner(nn.Module):
    """Context words shared by all classes, spliced in after [CLS]: `[CLS] [context] class name . [SEP]`.

    Args:
        encoder: Frozen dual encoder; not part of this module's weights.
        start: Words whose embeddings the context starts from; their number is the context's length.
    """

    def __init__(self, encoder: Words, start: str = "a photo of a") -> None:
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
