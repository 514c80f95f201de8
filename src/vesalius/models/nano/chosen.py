"""nano's segmenter where LiteMedSAM is installed; who answers was chosen on the development sets' validation part.

LiteMedSAM answers boxes and the names that it learnt well, the small head clicks without a box and all other names. On
polyps and fetal heads, which neither saw, Dice from a box is .96 and .94 against .79 and .89, from a name .71 and .78
against .12 and .32; but five clicks alone come to .53 over ten structures with LiteMedSAM, to .70 with the small head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.cases import Image
from vesalius.models.backbone import TextTower
from vesalius.models.medsam.model import EncodedMap, MedSam
from vesalius.models.medsam.net import SIDE
from vesalius.models.promptable import Encoded, PromptSegmenter
from vesalius.models.protocols import AnyArray, Prompt, Segmentation

#: Cosine of two names' sentence vectors from which they count as wordings of one thing: "baby head" and "fetal head"
#: have 0.79, "tumor" and "lung tumour" 0.66, "optic disc" and "vertebrae and discs" 0.48.
SAME = 0.7
#: Words that must be in both names or in neither: a left lung is not both lungs.
SIDES = frozenset(("left", "right", "anterior", "posterior", "upper", "lower"))
_OWN = "own."


@dataclass(frozen=True, eq=False)
class Both:
    """One picture's embeddings.

    Args:
        fine: LiteMedSAM's.
        own: nano's.
    """

    fine: EncodedMap
    own: Encoded

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.fine.size

    def to_tensors(self) -> dict[str, AnyArray]:
        """Both, by name; `Chosen.restore` reads them back."""
        return self.fine.to_tensors() | {_OWN + k: v for k, v in self.own.to_tensors().items()}


class Chosen:
    """A `Segmenter` that hands each prompt to the one who learnt it.

    Args:
        fine: Answers boxes and the names it learnt.
        own: Answers clicks alone and other names.
        names: What `fine` was trained on, in all wordings.
        text_tower: Gives the tower that compares names.
    """

    def __init__(
        self, fine: MedSam, own: PromptSegmenter, names: Sequence[str], text_tower: Callable[[], TextTower]
    ) -> None:
        self.fine, self.own, self.names = fine, own, tuple(names)
        self._tower = text_tower
        self._vectors: AnyArray | None = None
        self._known: dict[str, bool] = {n.lower(): True for n in names}

    @property
    def name(self) -> str:
        """Name in the model store."""
        return self.own.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both."""
        return hashlib.sha256(f"{self.fine.fingerprint} {self.own.fingerprint}".encode()).hexdigest()

    @property
    def encoder_fingerprint(self) -> str:
        """SHA-256 over what makes the embeddings."""
        return hashlib.sha256(f"{self.fine.encoder_fingerprint} {self.own.fingerprint}".encode()).hexdigest()

    def encode(self, image: Image, index: int = 0) -> Both:
        """The embeddings of one picture, or of slice `index` of a volume; nano's adds a twentieth of the time.

        Raises:
            UsageError: There is no such slice.
        """
        return Both(self.fine.encode(image, index), self.own.encode(image, index))

    def restore(self, tensors: Mapping[str, AnyArray], size: tuple[int, int]) -> Both:
        """Read back what `Both.to_tensors` gave.

        Raises:
            BadInputError: These are not embeddings of this model.
        """
        own = {k.removeprefix(_OWN): v for k, v in tensors.items() if k.startswith(_OWN)}
        return Both(self.fine.restore(tensors, size), self.own.restore(own, size))

    def segment(self, encoded: Both, prompt: Prompt) -> Segmentation:
        """One mask for one prompt, at the picture's own size.

        Raises:
            UsageError: The prompt says nothing, or speaks of a place outside the picture.
        """
        if self._is_fine(prompt):
            return self.fine.segment(encoded.fine, prompt)
        return self.own.segment(encoded.own, prompt)

    def _is_fine(self, prompt: Prompt) -> bool:
        if prompt.previous is not None:  # a mask so far goes back to whoever gave it
            return prompt.previous.shape == (SIDE, SIDE)
        return prompt.box is not None or (bool(prompt.text) and self.knows(prompt.text))

    def knows(self, name: str) -> bool:
        """Whether a name is one of those that `fine` was trained on, or says the same in other words."""
        key = name.lower()
        if key not in self._known:
            if self._vectors is None:
                self._vectors = np.asarray(self._tower()(self.names))
            cosine = self._vectors @ np.asarray(self._tower()([key]))[0]
            fits = [_sides(key) == _sides(n) for n in self.names]
            self._known[key] = bool(cosine.max(initial=-1.0, where=np.asarray(fits)) >= SAME)
        return self._known[key]


def _sides(name: str) -> frozenset[str]:
    return SIDES & frozenset(name.lower().split())
