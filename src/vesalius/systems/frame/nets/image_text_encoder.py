"""One encoder for an image, a text or both, over the frozen nano's cells and its text tower's word embeddings."""

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
from vesalius.models.nano.model import Nano
from vesalius.models.protocols import AnyArray, FloatArray
from vesalius.nn.unified_pair import UnifiedPair
from vesalius.systems.frame.inputs import base_embedder, frozen
from vesalius.systems.frame.recipe import Floats, SystemModel
from vesalius.systems.frame.worlds.chest_films import class_of
from vesalius.text.prompts import describe
from vesalius.training.pairs import Words

#: A picture is so many cells along a side; a text is cut after so many words.
CELLS, WORDS = 4, 32


class UnifiedModel(SystemModel, TowerEmbedder):
    """An embedder whose image and text vectors come from one net, and which also judges pairs."""

    system: ClassVar[str] = "ptunifier"
    capabilities: ClassVar[tuple[str, ...]] = ("embed", "text")
    net: UnifiedPair

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.base: Nano = base_embedder(config, device)  # type: ignore[assignment] # the one embedder here with cells and words
        SystemModel.__init__(self, config, device)
        TowerEmbedder.__init__(self, self.system, "", config["dim"], self.base.preprocess)

    def build(self) -> UnifiedPair:
        """The net for the config."""
        return UnifiedPair(1280, 384, cells=CELLS**2, words=WORDS, out=self.config["dim"], stand=self.config["stand"])

    def cells(self, images: Sequence[Image]) -> Tensor:
        """`(n, 16, 1280)` of each image's middle view."""
        views = [self.base.preprocess(image) for image in images]
        return _cells(self.base, np.stack([v[len(v) // 2] for v in views]))

    def words(self, texts: Sequence[str]) -> Words:
        """Word embeddings of texts, cut at the net's length."""
        return _words(self.base, texts)

    @torch.inference_mode()
    def _forward_views(self, views: AnyArray) -> FloatArray:
        return self.net.vector(self.net(_cells(self.base, views))).cpu().numpy()

    @torch.inference_mode()
    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        w = self.words(texts)
        return self.net.vector(self.net(words=w.embeddings, real=w.real)).cpu().numpy()

    @torch.inference_mode()
    def answer(self, image: Image, statements: Sequence[str]) -> Floats:
        """`(n,)` probabilities of exclusive statements about an image: a closed question, by the matching of pairs."""
        w = self.words(statements)
        x = self.cells([image]).expand(len(statements), -1, -1)
        logits = self.net.match(self.net(x, w.embeddings, w.real)).double()
        out: Floats = (logits[:, 1] - logits[:, 0]).softmax(0).cpu().numpy()
        return out

    @torch.inference_mode()
    def predict(self, cases: Sequence[Case]) -> Floats:
        """`(n, 128)` summary of whatever each case has: first image, report, or both."""
        out = np.empty((len(cases), self.net.match.in_features))
        for i, case in enumerate(cases):
            text = "" if case.report is None else case.report.impression or case.report.findings
            if not (case.images or text):
                raise BadInputError("case has neither image nor report", item=case.id)
            w = self.words([text]) if text else None
            cells = self.cells(case.images[:1]) if case.images else None
            out[i] = self.net(cells, w and w.embeddings, w and w.real)[0].double().cpu().numpy()
        return out


def captions(case: Case) -> list[str]:
    """What is said of a case: its report's impression, else sentences written from its class; may be none."""
    if case.report is not None and (text := case.report.impression or case.report.findings):
        return [text]
    image, name = case.images[0], str(case.label("class") or class_of(case))
    return describe(image.modality, image.view or None, image.body_part or None, name) if name else []


def image_cells(cases: Sequence[Case], device: str) -> dict[str, Tensor]:
    """`(16, 1280)` frozen cells of each case's first image, by case id."""
    base: Any = frozen("nano", device)
    out: dict[str, Tensor] = {}
    for start in range(0, len(cases), 8):
        part = cases[start : start + 8]
        views = [base.preprocess(c.images[0]) for c in part]
        rows = _cells(base, np.stack([v[len(v) // 2] for v in views]))
        out.update(zip([c.id for c in part], rows, strict=True))
    return out


def _cells(base: Nano, views: AnyArray) -> Tensor:
    tokens = base.patches(views).tokens
    # Out of inference mode's reach: cells stand in the graph of what is trained on them.
    return F.adaptive_avg_pool2d(tokens, CELLS).flatten(2).transpose(1, 2).clone()


def _words(base: Nano, texts: Sequence[str]) -> Words:
    ids, mask = base.text_tower.tokens(texts)
    with torch.no_grad():
        return Words(base.text_tower.word_embeddings(ids[:, :WORDS]), mask[:, :WORDS].bool())


@torch.inference_mode()
def summaries(model: UnifiedModel, cells: list[Tensor]) -> Tensor:
    """`(n, 128)` summaries of images alone."""
    return torch.cat([model.net(torch.stack(cells[i : i + 64])) for i in range(0, len(cells), 64)])
