"""Classification with no labels: images against sentences about each class, in an embedder's shared space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from vesalius.cases import Image
from vesalius.errors import UsageError
from vesalius.models.calibrators import probabilities
from vesalius.models.protocols import Embedder
from vesalius.text.prompts import prompt_ensemble

#: Inverse temperature when the model names none: CLIP's upper bound.
DEFAULT_SCALE = 100.0


@dataclass(frozen=True)
class Rejection:
    """How likely it is that an image is none of the classes it was asked for, from how well the best of them fits.

    A logistic function of the largest cosine similarity, its lead over the second, and the number of classes; learnt on
    kinds of image whose words the shared space had not been trained on.

    Args:
        best: Weight of the largest cosine similarity.
        lead: Weight of its lead over the second largest.
        classes: Weight of the logarithm of the number of classes.
        bias: Constant.
        scale: Inverse temperature at which the probabilities of the classes are calibrated, None to keep the model's.
    """

    best: float
    lead: float
    classes: float
    bias: float
    scale: float | None = None

    def __call__(self, similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """`(n,)` probability that none fits, from `(n, classes)` cosine similarities."""
        return np.asarray(expit(self.features(similarity) @ [self.best, self.lead, self.classes] + self.bias))

    @staticmethod
    def features(similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """`(n, 3)` what the function looks at."""
        order = -np.partition(-similarity, 1, axis=1)
        count = np.full(len(similarity), np.log(similarity.shape[1]))
        return np.stack([order[:, 0], order[:, 0] - order[:, 1], count], axis=1)


@dataclass(frozen=True)
class ZeroShot:
    """A classifier made of class names.

    Args:
        embedder: Model with a text tower.
        classes: Class names.
        features: `(classes, dim)` unit vectors: mean of each class's prompt vectors, scaled to length 1.
        prompts: The sentences behind each class.
        scale: Inverse temperature of the softmax. Without a `rejection` that was fitted beside it the probabilities
            rank well but are not calibrated.
        rejection: Tells images that are none of the classes, where the model has learnt to.
    """

    embedder: Embedder
    classes: tuple[str, ...]
    features: npt.NDArray[np.float32]
    prompts: Mapping[str, tuple[str, ...]]
    scale: float
    rejection: Rejection | None = None

    @property
    def name(self) -> str:
        """Model's name, for reports."""
        return f"zero-shot {self.embedder.name}"

    def embed(self, images: Sequence[Image]) -> npt.NDArray[np.float32]:
        """The embedder's vectors, `(n, dim)`."""
        return self.embedder.embed(images)

    def predict_vectors(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """`(n, classes)` probabilities of mutually exclusive classes, from unit vectors."""
        return probabilities(self.scale * self.similarity(vectors))

    def none_of_these(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """`(n,)` probability that an image is none of the classes; 0 where the model has not learnt to tell."""
        similarity = self.similarity(vectors)
        return np.zeros(len(similarity)) if self.rejection is None else self.rejection(similarity)

    def similarity(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """`(n, classes)` cosine similarities, from unit vectors."""
        return np.asarray(np.asarray(vectors, np.float64) @ self.features.T.astype(np.float64))

    def predict_proba(self, images: Sequence[Image]) -> npt.NDArray[np.float64]:
        """`(n, classes)` probabilities of images."""
        return self.predict_vectors(self.embedder.embed(images))


def zero_shot(
    embedder: Embedder,
    labels: Sequence[str],
    *,
    modality: str | None = None,
    body_part: str | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> ZeroShot:
    """Make a classifier from class names; text features are computed once, whatever the number of images.

    Args:
        embedder: Model with a text tower.
        labels: Class names in words.
        modality: DICOM code of the images, if known; it sharpens the prompts.
        body_part: Body part, if known.
        prompts: Own sentences for some classes, in place of the ensemble.

    Raises:
        UsageError: Fewer than two classes, or a name twice.
        MissingError: The model has no text tower.
    """
    classes = tuple(labels)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise UsageError(
            "zero-shot classification needs two or more different labels",
            item=", ".join(classes),
            fix="give the alternatives too, such as --labels 'pneumonia,no finding'",
        )
    own = prompts or {}
    sentences = {c: tuple(own.get(c) or prompt_ensemble(c, modality, body_part)) for c in classes}
    flat = [s for c in classes for s in sentences[c]]
    vectors = embedder.embed_text(flat)
    features, start = np.zeros((len(classes), vectors.shape[1]), np.float32), 0
    for i, c in enumerate(classes):
        mean = vectors[start : start + len(sentences[c])].mean(0)
        features[i] = mean / np.linalg.norm(mean)
        start += len(sentences[c])
    scale = float(getattr(embedder, "scale", DEFAULT_SCALE))
    return ZeroShot(embedder, classes, features, sentences, scale, getattr(embedder, "rejection", None))
