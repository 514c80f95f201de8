"""What a model can do: the capabilities that every verb asks for, as structural types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case, Image
from vesalius.cases.geometry import Box

FloatArray = npt.NDArray[np.float32]
AnyArray = npt.NDArray[Any]


@runtime_checkable
class Preprocess(Protocol):
    """Turns one image into what the tower eats; numpy and Pillow only, picklable, so that worker processes run it."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that changes the output."""
        ...

    def __call__(self, image: Image) -> AnyArray:
        """`(S, C, H, W)` views of one image: S = 1 for a picture, more for slices of a volume or frames of a video."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Puts images and texts into one space of unit vectors."""

    @property
    def name(self) -> str:
        """Name in the model store."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, tokenizer and preprocessing: what an index stores and compares."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """The image side's preprocessing."""
        ...

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """`(n, dim)` unit vectors of images of any kind."""
        ...

    def embed_views(self, views: Sequence[AnyArray]) -> FloatArray:
        """`(n, dim)` unit vectors of images that `preprocess` has already turned into views."""
        ...

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """`(n, dim)` unit vectors of texts.

        Raises:
            MissingError: The model has no text tower.
        """
        ...


@runtime_checkable
class Classifier(Protocol):
    """Gives probabilities of named classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the columns."""
        ...

    def predict_proba(self, images: Sequence[Image]) -> npt.NDArray[np.float64]:
        """`(n, classes)` probabilities."""
        ...


@runtime_checkable
class CaseClassifier(Classifier, Protocol):
    """A classifier that reads more of a case than one image: a table, other views."""

    def predict_cases(self, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
        """`(n, classes)` probabilities of whole cases."""
        ...


@dataclass(frozen=True)
class Grounding:
    """Where one phrase points.

    Args:
        phrase: The phrase.
        boxes: Boxes in pixels of the image, best first.
        scores: Score of each box in [0, 1].
        heat: `(h, w)` weight of each cell of a grid over the whole image, or None.
        count: How many instances there are, where every one was asked for and the model can tell; else None.
    """

    phrase: str
    boxes: tuple[Box, ...]
    scores: tuple[float, ...]
    heat: npt.NDArray[np.float32] | None = None
    count: int | None = None


@runtime_checkable
class Grounder(Protocol):
    """Finds where in an image a phrase points."""

    def ground(self, image: Image, phrases: Sequence[str]) -> list[Grounding]:
        """One answer a phrase."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What a user says about one target; any mix of these.

    Args:
        points: `(x, y, label)` clicks in pixels of the image; label 1 inside the target, 0 outside.
        box: Box around it.
        text: Its name.
        previous: `(h, w)` low-resolution logits of the mask so far, as `Segmentation.logits` gives them.
    """

    points: tuple[tuple[float, float, int], ...] = ()
    box: Box | None = None
    text: str = ""
    previous: npt.NDArray[np.float32] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Segmentation:
    """A mask and how sure the model is.

    Args:
        mask: `(H, W)` True inside, at the image's own size.
        logits: `(h, w)` low-resolution logits, to be given back as `Prompt.previous`.
        score: The model's own estimate of the mask's IoU, in [0, 1].
    """

    mask: npt.NDArray[np.bool_]
    logits: npt.NDArray[np.float32]
    score: float


@runtime_checkable
class EncodedImage(Protocol):
    """What a segmenter made of one picture; plain arrays, so that it can be kept and used by another process."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, in its own pixels."""
        ...

    def to_tensors(self) -> dict[str, AnyArray]:
        """Everything that `Segmenter.restore` needs besides `size`, by name."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """Segments what clicks, boxes or words point at; the image is encoded once."""

    @property
    def name(self) -> str:
        """Name in the model store."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and preprocessing: encodings of one fingerprint can be exchanged."""
        ...

    def encode(self, image: Image, index: int = 0) -> EncodedImage:
        """The embedding of one picture (or of slice `index` of a volume), to be used for any number of prompts."""
        ...

    def restore(self, tensors: Mapping[str, AnyArray], size: tuple[int, int]) -> EncodedImage:
        """The embedding that gave these tensors: prompts answer as they did before.

        Args:
            tensors: What `EncodedImage.to_tensors` of the same fingerprint gave.
            size: Height and width of the picture.
        """
        ...

    def segment(self, encoded: Any, prompt: Prompt) -> Segmentation:
        """One mask for one prompt; `encoded` is what this model's `encode` or `restore` gave."""
        ...
