"""A segmenter made of a frozen image tower and a promptable head: one picture encoded once, any number of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pillow

from vesalius.cases import Image
from vesalius.errors import BadInputError, UsageError
from vesalius.models.backbone import Backbone
from vesalius.models.preprocess import ViewPreprocess, display_view
from vesalius.models.protocols import AnyArray, FloatArray, Prompt, Segmentation
from vesalius.nn.promptable import (
    BOTTOM_RIGHT,
    INSIDE,
    OUTSIDE,
    TOP_LEFT,
    Features,
    PromptableHead,
    Prompts,
    choose,
    pad_prompts,
)

#: How a name is put to the text tower (IMIS-Net's template).
TEMPLATE = "A segmentation area of a {}."


@dataclass(frozen=True, eq=False)
class Encoded:
    """One picture's embedding.

    Args:
        features: What the head reads, batch of one.
        size: Height and width of the picture itself, in pixels.
    """

    features: Features
    size: tuple[int, int]

    def to_tensors(self) -> dict[str, AnyArray]:
        """Plain arrays, half precision, for keeping on disk; `PromptSegmenter.restore` reads them back."""
        maps = (self.features.cells, *self.features.fine)
        return {f"map{i}": m.cpu().numpy().astype(np.float16) for i, m in enumerate(maps)}


def picture_of(image: Image, index: int, side: int) -> tuple[AnyArray, tuple[int, int]]:
    """`(3, side, side)` 8-bit view of a picture or of one slice, as a screen shows it, and its height and width.

    The window is that of the whole volume: a slice looks the same whichever others are asked for.

    Raises:
        UsageError: The volume has no such slice.
    """
    if image.kind != "2d" and image.shape and not 0 <= index < image.shape[0]:
        why = f"it has {image.shape[0]}"
        raise UsageError("there is no such slice", item=f"{image.uri or 'array'}: {index}", why=why)
    shown = display_view(image, index)
    view: AnyArray = ViewPreprocess(side, side)(Image(array=shown))[0]
    return view, (shown.shape[0], shown.shape[1])


def sentence_vectors(base: Backbone, names: Sequence[str]) -> FloatArray:
    """`(n, 384)` vectors of names, zeros where a name is empty."""
    out = np.zeros((len(names), 384), np.float32)
    said = [i for i, name in enumerate(names) if name]
    if said:
        out[said] = base.text_tower([TEMPLATE.format(names[i]) for i in said])
    return out


class PromptSegmenter:
    """The `Segmenter` over a frozen tower.

    Args:
        base: The tower and the text tower.
        head: The trained part.
        side: Side of the square that a picture is squeezed to.
        name: Name for messages.
        fingerprint: SHA-256 over tower, head and side: what a kept embedding belongs to.
    """

    def __init__(self, base: Backbone, head: PromptableHead, side: int, name: str = "", fingerprint: str = "") -> None:
        self._tower, self.head, self.side = base, head.eval(), side
        self._name, self._fingerprint = name, fingerprint
        #: What a user should know before the masks are looked at.
        self.note = ""
        self._words: dict[str, FloatArray] = {}

    @property
    def name(self) -> str:
        """Name in the model store."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and preprocessing."""
        return self._fingerprint

    def encode(self, image: Image, index: int = 0) -> Encoded:
        """The embedding of one picture, or of slice `index` of a volume.

        Raises:
            UsageError: There is no such slice.
        """
        view, size = picture_of(image, index, self.side)
        with torch.inference_mode():
            return Encoded(self.head.features(self._tower.patches(view[None])), size)

    def restore(self, tensors: Mapping[str, AnyArray], size: tuple[int, int]) -> Encoded:
        """Read back what `Encoded.to_tensors` gave.

        Raises:
            BadInputError: These are not the maps of this model.
        """
        try:
            maps = [torch.from_numpy(np.asarray(tensors[f"map{i}"], np.float32)) for i in range(4)]
        except KeyError as error:
            raise BadInputError("not an embedding of this model", why=f"{error} is missing") from error
        device = self._tower.device
        cells, eighth, quarter, half = (m.to(device) for m in maps)
        return Encoded(Features(cells, (eighth, quarter, half)), size)

    def segment(self, encoded: Encoded, prompt: Prompt) -> Segmentation:
        """One mask for one prompt, at the picture's own size.

        The score is the estimated IoU times the probability that the target is in the picture. Where words name
        something that is not there, the score is low and the mask empty or small.

        Raises:
            UsageError: The prompt says nothing, or speaks of a place outside the picture.
        """
        height, width = encoded.size
        points = clicks_of(prompt, height, width)
        if not points and not prompt.text and prompt.previous is None:
            raise UsageError("nothing to segment", fix="give a click, a box or a name")
        places, kinds = pad_prompts([points])
        shape = tuple(encoded.features.fine[2].shape[-2:])
        previous = torch.full((1, *shape), float("nan"))
        if prompt.previous is not None:
            if prompt.previous.shape != shape:
                raise UsageError(
                    "earlier mask has another size", item=str(prompt.previous.shape), why=f"this model's have {shape}"
                )
            previous = torch.from_numpy(np.asarray(prompt.previous, np.float32))[None]
        if prompt.text not in self._words:
            self._words[prompt.text] = sentence_vectors(self._tower, [prompt.text])
        single = len(points) == 1 and not prompt.text and prompt.previous is None
        device = self._tower.device
        words = torch.from_numpy(self._words[prompt.text])
        said = Prompts(*(t.to(device) for t in (places, kinds, words, previous)))
        with torch.inference_mode():
            masks = self.head(encoded.features, said)
            logits, score = choose(masks, torch.tensor([single], device=device))
            whole = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
            sure = float(score[0] * masks.present.sigmoid()[0])
        return Segmentation(whole.cpu().numpy() > 0, logits[0].float().cpu().numpy(), sure)


def clicks_of(prompt: Prompt, height: int, width: int) -> list[tuple[float, float, int]]:
    """A prompt's clicks and box corners in [0, 1] of the picture.

    Raises:
        UsageError: One is outside the picture, or a click's label is neither 0 nor 1.
    """
    out = []
    for x, y, label in prompt.points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise UsageError("click is outside the picture", item=f"{x:g}, {y:g}", why=f"it is {width} x {height}")
        if label not in (0, 1):
            raise UsageError("click's label is not known", item=str(label), fix="1 is inside the target, 0 outside")
        out.append((x / width, y / height, INSIDE if label else OUTSIDE))
    if prompt.box is not None:
        box = prompt.box.clipped(height, width)
        if box.area <= 0:
            raise UsageError(
                "box is empty or outside the picture", item=str(prompt.box), why=f"it is {width} x {height}"
            )
        out += [(box.x0 / width, box.y0 / height, TOP_LEFT), (box.x1 / width, box.y1 / height, BOTTOM_RIGHT)]
    return out


def shrink(mask: AnyArray, side: int) -> AnyArray:
    """`(side, side)` True where at least half of what a cell covers is inside a `(H, W)` mask."""
    picture = Pillow.fromarray(np.asarray(mask, np.uint8) * 255)
    small: AnyArray = np.asarray(picture.resize((side, side), Pillow.Resampling.BOX)) >= 128
    return small
