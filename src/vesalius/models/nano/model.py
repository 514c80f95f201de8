"""nano: the embedded default. EfficientNet-Lite0 tuned on open medical images, MiniLM locked, one shared space."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from vesalius.errors import BadInputError, MissingError
from vesalius.models.embedding import TowerEmbedder, batch_size_for
from vesalius.models.manifest import Manifest
from vesalius.models.nano.minilm import DIM as TEXT_DIM
from vesalius.models.nano.minilm import MiniLM
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import AnyArray, EncodedImage, FloatArray, Grounding, Segmentation, Segmenter
from vesalius.models.zeroshot import Rejection
from vesalius.nn.efficientnet import FEATURES, EfficientNetLite0, Pyramid

if TYPE_CHECKING:
    from vesalius.models.nano.detect import DetectHead
    from vesalius.models.nano.ground import GroundHead
    from vesalius.models.promptable import PromptSegmenter

DIM = 384
WEIGHTS = "nano.safetensors"
#: How zero-shot scores are read: beside the weights, since it changes no vector.
WORDS = "head-words.json"


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
            # Stored in half precision, which moves a vector by less than a thousandth; every sum is in single.
            self.net.load_state_dict({k: v.float() for k, v in load_file(folder / WEIGHTS).items()})
        except RuntimeError as error:
            raise BadInputError(
                "model's weights do not fit", item=str(folder / WEIGHTS), why=str(error)[:300]
            ) from error
        self.net.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it alone
        self.folder, self.device = folder, device
        self._ground_head: GroundHead | None = None
        self._detect_head: DetectHead | None = None
        self._text_tower: MiniLM | None = None
        self._own_segmenter: PromptSegmenter | None = None
        self._segmenter: Segmenter | None = None

    @property
    def scale(self) -> float:
        """Inverse temperature of the image-text softmax: calibrated where that was done, else as trained."""
        calibrated = None if self.rejection is None else self.rejection.scale
        return float(self.net.log_scale.exp()) if calibrated is None else calibrated

    @cached_property
    def rejection(self) -> Rejection | None:
        """Tells images that are none of the classes asked for; None where the folder has no such function."""
        if WORDS not in self.manifest.files:
            return None
        try:
            return Rejection(**json.loads((self.folder / WORDS).read_text("utf-8"))["rejection"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                "cannot read how words are scored", item=str(self.folder / WORDS), why=str(error)
            ) from error

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

    @property
    def ground(self) -> Callable[..., list[Grounding]]:
        """`ground(image, phrases, index=None)`: one answer a phrase.

        By the head that finds every instance where the folder has one (`models.nano.detect`), else by the head that
        gives one box (`models.nano.ground`); read when first needed.

        Raises:
            AttributeError: The folder has no box head: it cannot ground, and `hasattr` says so.
        """
        from vesalius.models.nano import detect
        from vesalius.models.nano import ground as nano_ground

        if detect.FILE in self.manifest.files:
            return partial(self._detector().ground, self)
        path = self.folder / nano_ground.FILE
        if nano_ground.FILE not in self.manifest.files:
            raise AttributeError(f"{self.name} has no {nano_ground.FILE}")
        if self._ground_head is None:
            self._ground_head = nano_ground.GroundHead.load(path, self)
        return partial(self._ground_head.ground, self)

    @property
    def ground_all(self) -> Callable[..., list[Grounding]]:
        """`ground_all(image, phrases, index=None)`: every instance of each phrase, and their count.

        Raises:
            AttributeError: The folder has no head that finds every instance, and `hasattr` says so.
        """
        return partial(self._detector().ground, self, every=True)

    def _detector(self) -> DetectHead:
        from vesalius.models.nano import detect

        if detect.FILE not in self.manifest.files:
            raise AttributeError(f"{self.name} has no {detect.FILE}")
        if self._detect_head is None:
            self._detect_head = detect.DetectHead.load(self.folder / detect.FILE, self)
        return self._detect_head

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

    @property
    def own_segmenter(self) -> PromptSegmenter:
        """The small mask head on this tower, read when first needed.

        Raises:
            AttributeError: The folder has none.
        """
        from vesalius.models.nano import segment as nano_segment

        if nano_segment.FILE not in self.manifest.files:
            raise AttributeError(f"{self.name} has no {nano_segment.FILE}")
        if self._own_segmenter is None:
            self._own_segmenter = nano_segment.load_segmenter(self.folder / nano_segment.FILE, self)
        return self._own_segmenter

    @property
    def segmenter(self) -> Segmenter:
        """What segments in nano's name: `medsam-lite` and the small head, or without its weights that head alone.

        The small head alone says so in its `note`.

        Raises:
            AttributeError: The folder has no small head: it cannot segment, and `hasattr` says so.
        """
        own = self.own_segmenter
        if self._segmenter is None:
            from vesalius.models.medsam import model as medsam
            from vesalius.models.nano.chosen import Chosen

            try:
                fine = medsam.open_tuned(self.device, lambda: self.text_tower)
                self._segmenter = Chosen(fine, own, fine.names, lambda: self.text_tower)
            except MissingError as error:
                own.note = f"masks come from nano's small head: {error}"
                self._segmenter = own
        return self._segmenter

    @property
    def encode(self) -> Callable[..., EncodedImage]:
        """`encode(image, index=0)`: a picture, or a slice of a volume, for any number of prompts."""
        return self.segmenter.encode

    @property
    def restore(self) -> Callable[..., EncodedImage]:
        """`restore(tensors, size)`: what `Encoded.to_tensors` gave."""
        return self.segmenter.restore

    @property
    def segment(self) -> Callable[..., Segmentation]:
        """`segment(encoded, prompt)`: one mask for one prompt, at the picture's own size."""
        return self.segmenter.segment
