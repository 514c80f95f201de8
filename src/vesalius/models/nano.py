"""nano: the embedded default. EfficientNet-Lite0 tuned on open medical images, MiniLM locked, one shared space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from vesalius.errors import BadInputError
from vesalius.models.embedding import TowerEmbedder, batch_size_for
from vesalius.models.manifest import Manifest
from vesalius.models.minilm import DIM as TEXT_DIM
from vesalius.models.minilm import MiniLM
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import AnyArray, FloatArray
from vesalius.nn.efficientnet import FEATURES, EfficientNetLite0, Pyramid

DIM = 384
WEIGHTS = "nano.safetensors"


class NanoNet(nn.Module):
    """The trained parts: image tower, image projection, text projection, temperature.

    Args:
        drop_path: Stochastic depth while training.
    """

    def __init__(self, drop_path: float = 0.0) -> None:
        super().__init__()
        self.tower = EfficientNetLite0(drop_path)
        self.image_projection = nn.Linear(FEATURES, DIM)
        self.text_projection = nn.Linear(TEXT_DIM, DIM)
        nn.init.eye_(self.text_projection.weight)
        nn.init.zeros_(self.text_projection.bias)
        self.log_scale = nn.Parameter(torch.tensor(2.303))  # 1 / 0.1

    def image(self, pixels: Tensor) -> Tensor:
        """`(B, 3, H, W)` 8-bit values to `(B, 384)` unit vectors."""
        return F.normalize(self.image_projection(self.tower(pixels)), dim=1)

    def text(self, sentence: Tensor) -> Tensor:
        """`(B, 384)` MiniLM vectors to `(B, 384)` unit vectors of the shared space."""
        return F.normalize(self.text_projection(sentence), dim=1)


class Nano(TowerEmbedder):
    """The loaded model.

    Args:
        folder: Model folder.
        device: torch device.

    Raises:
        MissingError: A piece is missing or not the one the manifest names.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.manifest = Manifest.read(folder)
        self.manifest.require_whole(folder)
        preprocess = ViewPreprocess.from_dict(self.manifest.preprocess)
        size = batch_size_for(device)
        super().__init__(self.manifest.name, self.manifest.fingerprint, DIM, preprocess, batch_size=size)
        self.net = NanoNet()
        try:
            self.net.load_state_dict(load_file(folder / WEIGHTS))
        except RuntimeError as error:
            raise BadInputError(
                "model's weights do not fit", item=str(folder / WEIGHTS), why=str(error)[:300]
            ) from error
        self.net.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
        self.device = device
        self._text_tower: MiniLM | None = None

    @property
    def scale(self) -> float:
        """Inverse temperature of the trained image-text softmax."""
        return float(self.net.log_scale.exp())

    @torch.inference_mode()
    def _forward_views(self, views: AnyArray) -> FloatArray:
        return self.net.image(torch.from_numpy(views).to(self.device)).cpu().numpy()

    @property
    def text_tower(self) -> MiniLM:
        """The locked text tower, read when first needed."""
        if self._text_tower is None:
            # Weights made in inference mode could never stand in a graph, and words may be learned through them later.
            with torch.inference_mode(False):
                self._text_tower = MiniLM(self.manifest.external["text"], self.device)
        return self._text_tower

    @torch.inference_mode()
    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        sentence = torch.from_numpy(self.text_tower(texts)).to(self.device)
        return self.net.text(sentence).cpu().numpy()

    def encode_words(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """`(n, 384)` unit vectors of the shared space from word embeddings; gradients flow to the embeddings."""
        return self.net.text(self.text_tower.encode(embeddings, mask))

    @torch.inference_mode()
    def patch_vectors(self, views: AnyArray) -> FloatArray:
        """`(n, cells, 384)` unit vectors of the cells of `(n, 3, H, W)` views, rows first, in the shared space.

        The picture's vector is the projection of the cells' mean, so a cell's own projection lies in the same space.
        """
        cells = self.patches(views).tokens.flatten(2).transpose(1, 2)
        return F.normalize(self.net.image_projection(cells), dim=2).cpu().numpy()

    @torch.inference_mode()
    def patches(self, views: AnyArray) -> Pyramid:
        """Feature maps of `(n, 3, H, W)` 8-bit views, for mask and box heads."""
        return self.net.tower.pyramid(torch.from_numpy(views).to(self.device))
