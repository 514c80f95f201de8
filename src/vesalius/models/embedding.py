"""What every embedder shares: batching views, pooling slices, unit length, remembering texts."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import AnyArray, FloatArray

#: Texts whose vectors an embedder remembers: 6 MB at 384 numbers each, and more than any set of prompts.
TEXTS_KEPT = 4096


class TowerEmbedder(ABC):
    """An image tower and perhaps a text tower over one `ViewPreprocess`.

    A volume's or video's vector is the mean of its slices' unit vectors, scaled to length 1 again: it needs no
    training, is the same whatever the order of the slices, and one slice alone gives the picture's own vector.

    Args:
        name: Name for messages and indexes.
        fingerprint: SHA-256 over weights, tokenizer and preprocessing.
        dim: Length of a vector.
        preprocess: The image side's preprocessing.
        batch_size: Views that go through the tower at once.
    """

    def __init__(
        self, name: str, fingerprint: str, dim: int, preprocess: ViewPreprocess, *, batch_size: int = 8
    ) -> None:
        self._name, self._fingerprint, self._dim, self._preprocess = name, fingerprint, dim, preprocess
        self.batch_size = batch_size
        # Least recently asked first. Keyed by hash: what was asked is not kept, and the store does not grow for ever.
        self._texts: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()

    @property
    def name(self) -> str:
        """Name in the model store."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, tokenizer and preprocessing."""
        return self._fingerprint

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._dim

    @property
    def preprocess(self) -> ViewPreprocess:
        """The image side's preprocessing."""
        return self._preprocess

    @abstractmethod
    def _forward_views(self, views: AnyArray) -> FloatArray:
        """`(n, 3, H, W)` views to `(n, dim)` vectors of any length."""

    def _forward_texts(self, texts: Sequence[str]) -> FloatArray:
        """`(n, dim)` vectors of any length."""
        raise MissingError(
            "model has no text tower",
            item=self.name,
            why=f"cannot embed {len(texts)} text(s)",
            fix="use nano or a CLIP",
        )

    def embed(self, images: Sequence[Image]) -> FloatArray:
        """`(n, dim)` unit vectors of images of any kind, decoded in this process."""
        out = np.zeros((len(images), self.dim), np.float32)
        # A few images at a time: views of a whole archive would not fit in memory.
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            out[start : start + len(part)] = self.embed_views([self.preprocess(image) for image in part])
        return out

    def embed_views(self, views: Sequence[AnyArray]) -> FloatArray:
        """`(n, dim)` unit vectors of images that `preprocess` has turned into `(S, 3, H, W)` views."""
        owner = np.repeat(np.arange(len(views)), [len(v) for v in views])
        summed = np.zeros((len(views), self.dim), np.float32)
        done = 0
        for batch in _batches(views, self.batch_size):
            vectors = unit(self._forward_views(batch), self.name)
            np.add.at(summed, owner[done : done + len(batch)], vectors)
            done += len(batch)
        return unit(summed, self.name)

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """`(n, dim)` unit vectors of texts; the last few thousand different ones are remembered.

        Raises:
            MissingError: The model has no text tower.
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest() for t in texts]
        found = {k: v for k in keys if (v := self._texts.get(k)) is not None}
        new = {k: t for k, t in zip(keys, texts, strict=True) if k not in found}
        if new:
            found.update(zip(new, unit(self._forward_texts(list(new.values())), self.name), strict=True))
        for key in dict.fromkeys(keys):
            self._texts[key] = found[key]
            self._texts.move_to_end(key)
        while len(self._texts) > TEXTS_KEPT:
            self._texts.popitem(last=False)
        return np.stack([found[k] for k in keys])


def batch_size_for(device: str) -> int:
    """Views in one pass: eight fit a processor's caches and are faster than more; a GPU wants more."""
    return 8 if device == "cpu" else 64


def unit(vectors: npt.NDArray[Any], name: str) -> FloatArray:
    """Rows scaled to length 1.

    Raises:
        BadInputError: A row is zero or not finite, which means that the model or its input is broken.
    """
    v = np.asarray(vectors, np.float32)
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    if not np.isfinite(norm).all() or (norm == 0).any():
        bad = int(np.flatnonzero(~np.isfinite(norm[:, 0]) | (norm[:, 0] == 0))[0])
        raise BadInputError("model gave an unusable vector", item=f"{name}, row {bad}", why="it is zero or not finite")
    return np.asarray(v / norm, np.float32)


def _batches(views: Sequence[AnyArray], size: int) -> Iterator[AnyArray]:
    """Views of all images in order, `size` at a time, without joining everything first."""
    held: list[AnyArray] = []
    count = 0
    for stack in views:
        start = 0
        while start < len(stack):
            take = min(size - count, len(stack) - start)
            held.append(stack[start : start + take])
            count += take
            start += take
            if count == size:
                yield np.concatenate(held)
                held, count = [], 0
    if held:
        yield np.concatenate(held)
