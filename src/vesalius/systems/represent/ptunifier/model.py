"""One encoder for an image, a text or both, over a frozen tower's cells and its text side's word embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError
from vesalius.models.embedding import TowerEmbedder
from vesalius.models.protocols import AnyArray, FloatArray
from vesalius.systems.frame.frozen import Patches, Words, in_a_graph, kept, middle_views, tower_of
from vesalius.systems.frame.inputs import class_of
from vesalius.systems.frame.model import Floats, SystemModel
from vesalius.systems.represent.ptunifier.losses import Sentences
from vesalius.systems.represent.ptunifier.net import UnifiedPair
from vesalius.text.prompts import describe

#: A picture is so many cells along a side; a text is cut after so many words.
CELLS, WORDS = 4, 32


class UnifiedModel(SystemModel, TowerEmbedder):
    """An embedder whose image and text vectors come from one net, and which also judges pairs."""

    system: ClassVar[str] = "ptunifier"
    capabilities: ClassVar[tuple[str, ...]] = ("embed", "text")
    net: UnifiedPair

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base = tower_of(config, device)
        SystemModel.__init__(self, config, device)
        TowerEmbedder.__init__(self, self.system, "", config["dim"], self.base.preprocess)

    def build(self) -> UnifiedPair:
        """The net for the config."""
        return UnifiedPair(
            self.config["cell_dim"], self.config["word_dim"], cells=CELLS**2, words=WORDS, out=self.config["dim"],
            stand=self.config["stand"],
        )  # fmt: skip

    @torch.inference_mode()
    def _forward_views(self, views: AnyArray) -> FloatArray:
        return self.net.vector(self.net(_cells(self.base, views))).cpu().numpy()

    @torch.inference_mode()
    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        w = sentences(self.base, texts)
        return self.net.vector(self.net(words=w.embeddings, real=w.real)).cpu().numpy()

    @torch.inference_mode()
    def answer(self, image: Image, statements: Sequence[str]) -> Floats:
        """`(n,)` probabilities of exclusive statements about an image: a closed question, by the matching of pairs."""
        w = sentences(self.base, statements)
        x = image_cells([image], self.base).expand(len(statements), -1, -1)
        logits = self.net.match(self.net(x, w.embeddings, w.real)).double()
        out: Floats = (logits[:, 1] - logits[:, 0]).softmax(0).cpu().numpy()
        return out

    @torch.inference_mode()
    def summaries(self, images: Sequence[Image]) -> Tensor:
        """`(n, 128)` summaries of images alone."""
        cells = image_cells(images, self.base)
        return torch.cat([self.net(cells[i : i + 64]) for i in range(0, len(cells), 64)])

    @torch.inference_mode()
    def summary_of(self, case: Case) -> Tensor:
        """`(128,)` summary of whatever a case has: first image, report, or both.

        Raises:
            BadInputError: It has neither.
        """
        text = "" if case.report is None else case.report.impression or case.report.findings
        if not (case.images or text):
            raise BadInputError("case has neither image nor report", item=case.id)
        w = sentences(self.base, [text]) if text else None
        cells = image_cells(case.images[:1], self.base) if case.images else None
        found: Tensor = self.net(cells, w and w.embeddings, w and w.real)[0]
        return found


def captions(case: Case) -> list[str]:
    """What is said of a case: its report's impression, else sentences written from its class; may be none."""
    if case.report is not None and (text := case.report.impression or case.report.findings):
        return [text]
    image, name = case.images[0], class_of(case)
    return describe(image.modality, image.view or None, image.body_part or None, name) if name else []


def image_cells(images: Sequence[Image], base: Patches) -> Tensor:
    """`(n, 16, d)` frozen cells of each image's middle view, computed once in a process."""
    found = kept(images, f"cells {base.fingerprint}", lambda part: list(_cells(base, middle_views(part, base))))
    return torch.stack(found)


def sentences(base: Words, texts: Sequence[str]) -> Sentences:
    """Word embeddings of texts, cut at the net's length."""
    ids, mask = base.text_tower.tokens(texts)
    with torch.no_grad():
        return Sentences(base.text_tower.word_embeddings(ids[:, :WORDS]), mask[:, :WORDS].bool())


def _cells(base: Patches, views: AnyArray) -> Tensor:
    return in_a_graph(F.adaptive_avg_pool2d(base.patches(views).tokens, CELLS).flatten(2).transpose(1, 2))


def as_numbers(x: Tensor) -> Floats:
    """Double precision numbers of a tensor."""
    out: Floats = x.double().cpu().numpy()
    return np.asarray(out)
