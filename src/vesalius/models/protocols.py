"""What a model can do: the capabilities that every verb asks for, as structural types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image

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
