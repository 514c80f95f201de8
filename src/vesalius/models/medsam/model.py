"""LiteMedSAM as a segmenter: a picture encoded once, any number of clicks, boxes and names after that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError, UsageError
from vesalius.models.backbone import TextTower
from vesalius.models.converted import read_external
from vesalius.models.manifest import Manifest
from vesalius.models.medsam.net import SIDE, WORDS, MaskDecoder, decoder_from_published, encoder_from_published
from vesalius.models.medsam.view import VERSION, Frame, view_of
from vesalius.models.promptable import TEMPLATE, clicks_of
from vesalius.models.protocols import AnyArray, Prompt, Segmentation
from vesalius.models.store import find
from vesalius.nn.promptable import Prompts, pad_prompts

NAME = "medsam-lite"
#: What was trained here, beside the published weights.
FILE = "decoder.safetensors"
#: Below this probability that a name is there at all, its mask is empty.
THERE = 0.5


@dataclass(frozen=True, eq=False)
class EncodedMap:
    """One picture's embedding.

    Args:
        features: `(1, 256, 64, 64)`.
        frame: How the picture lies in the encoder's square.
    """

    features: Tensor
    frame: Frame

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.frame.height, self.frame.width

    def to_tensors(self) -> dict[str, AnyArray]:
        """The map in half precision; `MedSam.restore` reads it back."""
        return {"map": self.features.cpu().numpy().astype(np.float16)}


class MedSam:
    """The loaded model.

    Args:
        folder: Model folder.
        device: torch device.
        text_tower: Gives the tower that names go through, where another model has read it already.

    Raises:
        MissingError: The package that carries the weights is not installed, or another file than the manifest names.
        BadInputError: The trained part does not fit.
    """

    def __init__(self, folder: Path, device: str = "cpu", text_tower: Callable[[], TextTower] | None = None) -> None:
        self.manifest = Manifest.read(folder)
        self.manifest.require_whole(folder)
        published = read_external(self.manifest.external["weights"])
        self.encoder = encoder_from_published(published).to(device)
        self.decoder = decoder_from_published(published)
        if FILE in self.manifest.files:
            load_trained(self.decoder, folder / FILE)
        self.decoder.eval().requires_grad_(False).to(device)
        self.device = device
        self._text_tower = text_tower
        self._words: dict[str, Tensor] = {}
        facts = [self.manifest.external["weights"].sha256, SIDE, VERSION]
        self._encoder_mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Name in the model store."""
        return self.manifest.name

    @property
    def names(self) -> tuple[str, ...]:
        """Every wording of a name that the decoder was trained on."""
        said = self.manifest.notes.get("names", {})
        return tuple(wording for wordings in said.values() for wording in wordings)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and preprocessing."""
        return hashlib.sha256(f"{self.manifest.fingerprint} {VERSION}".encode()).hexdigest()

    @property
    def encoder_fingerprint(self) -> str:
        """SHA-256 over encoder and preprocessing: embeddings outlive another decoder."""
        return self._encoder_mark

    def encode(self, image: Image, index: int = 0) -> EncodedMap:
        """The embedding of one picture, or of slice `index` of a volume.

        Raises:
            UsageError: There is no such slice.
        """
        view, frame = view_of(image, index, SIDE)
        with torch.inference_mode():
            return EncodedMap(self.encoder(torch.from_numpy(view)[None].to(self.device)), frame)

    def restore(self, tensors: Mapping[str, AnyArray], size: tuple[int, int]) -> EncodedMap:
        """Read back what `EncodedMap.to_tensors` gave.

        Raises:
            BadInputError: This is not a map of this model.
        """
        try:
            found = torch.from_numpy(np.asarray(tensors["map"], np.float32))
        except KeyError as error:
            raise BadInputError("not an embedding of this model", why=f"{error} is missing") from error
        return EncodedMap(found.to(self.device), Frame(*size, SIDE))

    def segment(self, encoded: EncodedMap, prompt: Prompt) -> Segmentation:
        """One mask for one prompt, at the picture's own size.

        The score is the estimated IoU times the probability that the target is in the picture. Where a name alone is
        said and is not there, the mask is empty and the score low.

        Raises:
            UsageError: The prompt says nothing, speaks of a place outside the picture, or gives a name to a decoder
                that knows none.
        """
        frame = encoded.frame
        points = clicks_of(prompt, frame.height, frame.width)
        if not points and not prompt.text and prompt.previous is None:
            raise UsageError("nothing to segment", fix="give a click, a box or a name")
        if prompt.text and not self.decoder.tuned and not points:
            raise UsageError("this model knows no names", item=self.name, fix="give a click or a box")
        h, w = frame.inside
        places, kinds = pad_prompts([[(x * w / SIDE, y * h / SIDE, kind) for x, y, kind in points]])
        previous = torch.full((1, SIDE, SIDE), float("nan"))
        if prompt.previous is not None:
            if prompt.previous.shape != (SIDE, SIDE):
                raise UsageError(
                    "earlier mask has another size", item=str(prompt.previous.shape),
                    why=f"this model's have {(SIDE, SIDE)}",
                )  # fmt: skip
            previous = torch.from_numpy(np.asarray(prompt.previous, np.float32))[None]
        words = self._vector(prompt.text)
        said = Prompts(*(t.to(self.device) for t in (places, kinds, words, previous)))
        name_alone = bool(prompt.text) and not points and prompt.previous is None
        with torch.inference_mode():
            masks, there = self.decoder.ask(encoded.features, said, locate=name_alone)
            sure = float(there[0])
            logits = masks.logits[:, :1]
            whole = F.interpolate(logits[..., :h, :w], size=encoded.size, mode="bilinear", align_corners=False)[0, 0]
            mask = whole.cpu().numpy() > 0
        if name_alone and sure < THERE:
            mask = np.zeros_like(mask)
        return Segmentation(mask, logits[0, 0].float().cpu().numpy(), float(masks.overlap[0, 0]) * sure)

    def _vector(self, text: str) -> Tensor:
        """`(1, 384)` sentence vector of a name, zeros where there is none."""
        if text not in self._words:
            vector = torch.zeros(1, WORDS)
            if text and self.decoder.tuned:
                vector = torch.from_numpy(np.asarray(self._tower()([TEMPLATE.format(text)]), np.float32))
            self._words[text] = vector
        return self._words[text]

    def _tower(self) -> TextTower:
        if self._text_tower is None:
            from vesalius.models.nano.minilm import MiniLM

            tower = MiniLM(self.manifest.external["text"], self.device)
            self._text_tower = lambda: tower
        return self._text_tower()


def open_tuned(device: str, text_tower: Callable[[], TextTower]) -> MedSam:
    """The store's `medsam-lite` for another model to speak through.

    Args:
        device: torch device.
        text_tower: Gives the tower that names go through.

    Raises:
        MissingError: It is not in the store, its weights are not installed, or its decoder knows no names.
    """
    entry = find(NAME)
    if FILE not in entry.manifest.files:
        raise MissingError("its decoder was not trained for names", item=NAME)
    return MedSam(entry.folder, device, text_tower)


def load_trained(decoder: MaskDecoder, path: Path) -> None:
    """Read the trained part into a decoder with the published weights.

    Raises:
        BadInputError: It does not fit.
    """
    try:
        state = {k: v.float() for k, v in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise BadInputError("cannot read mask decoder", item=str(path), why=str(error)[:300]) from error
    unknown = decoder.load_state_dict(state, strict=False).unexpected_keys
    if unknown:
        raise BadInputError("mask decoder does not fit", item=str(path), why=f"unknown: {', '.join(unknown[:3])}")
    decoder.tuned = True
