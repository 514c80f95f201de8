"""Towers that nobody trains, and what they make of a picture, computed once in a process.

A recipe names what it needs of a tower by a protocol, `Patches` or `Words`, and gets whichever tower has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vesalius.cases import Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models import load
from vesalius.models.preprocess import ViewPreprocess
from vesalius.models.protocols import AnyArray, Embedder, FloatArray
from vesalius.nn.efficientnet import Pyramid

T = TypeVar("T")


@runtime_checkable
class Patches(Embedder, Protocol):
    """An embedder that also gives maps of a picture."""

    @property
    def preprocess(self) -> ViewPreprocess:
        """The image side's preprocessing."""
        ...

    def patches(self, views: AnyArray) -> Pyramid:
        """Feature maps of `(n, 3, H, W)` 8-bit views."""
        ...

    def patch_vectors(self, views: AnyArray) -> FloatArray:
        """`(n, cells, dim)` unit vectors of the cells of views, in the space of texts."""
        ...


class WordTower(Protocol):
    """Tokeniser and word embeddings of a text side."""

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """`(n, t)` ids and 0/1 mask, [CLS] first."""
        ...

    def word_embeddings(self, ids: Tensor) -> Tensor:
        """`(..., d)` embeddings of ids."""
        ...


@runtime_checkable
class Words(Embedder, Protocol):
    """An embedder whose text side takes word embeddings, so that words can be learned."""

    @property
    def scale(self) -> float:
        """Inverse temperature of its softmax over texts."""
        ...

    @property
    def text_tower(self) -> WordTower:
        """Tokeniser and word embeddings."""
        ...

    def encode_words(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """`(n, dim)` unit vectors; gradients flow to the embeddings."""
        ...


@runtime_checkable
class Chat(Protocol):
    """A language model that answers."""

    def ask(self, question: str) -> str:
        """The answer."""
        ...


@lru_cache(maxsize=2)
def frozen(name: str, device: str = "cpu") -> Embedder:
    """An embedder that nobody trains, loaded once in a process."""
    return load(name, device=device, can="embed")


def with_patches(name: str, device: str = "cpu") -> Patches:
    """A frozen embedder that gives maps of a picture.

    Raises:
        MissingError: This one does not.
    """
    found = frozen(name, device)
    if not isinstance(found, Patches):
        raise MissingError("the model gives no maps of a picture", item=name, fix="use nano")
    return found


def with_words(name: str, device: str = "cpu") -> Words:
    """A frozen embedder whose words can be learned.

    Raises:
        MissingError: This one's cannot.
    """
    found = frozen(name, device)
    if not isinstance(found, Words):
        raise MissingError("the model's text side takes no word embeddings", item=name, fix="use nano")
    return found


def named(base: Embedder, name: str = "nano") -> dict[str, str]:
    """What a model's config says of the frozen tower below it; `tower_of` reads it."""
    return {"base": name, "base_fingerprint": base.fingerprint}


def tower_of(config: Mapping[str, Any], device: str) -> Any:
    """The frozen tower that a model's config names.

    Raises:
        BadInputError: The tower here is not the one that the model was trained on.
    """
    found = frozen(str(config["base"]), device)
    if found.fingerprint != config["base_fingerprint"]:
        raise BadInputError(
            "model was trained on another embedder",
            item=f"{config['base']} {str(config['base_fingerprint'])[:12]}",
            why=f"here it is {found.fingerprint[:12]}",
            fix="train it again, or load the embedder it was trained on",
        )
    return found


_KEPT: dict[str, WeakKeyDictionary[Image, Any]] = {}


def kept(
    images: Sequence[Image], what: str, compute: Callable[[list[Image]], Sequence[T]], at_once: int = 8
) -> list[T]:
    """Something of each image, computed once for as long as the image is there.

    Args:
        images: Images.
        what: Name of what is computed, with everything that it depends on beside the image.
        compute: From some images to one result each.
        at_once: Most images in a call.
    """
    known = _KEPT.setdefault(what, WeakKeyDictionary())
    missing = list(dict.fromkeys(image for image in images if image not in known))
    for start in range(0, len(missing), at_once):
        part = missing[start : start + at_once]
        known.update(zip(part, compute(part), strict=True))
    return [known[image] for image in images]


def vectors(images: Sequence[Image], base: Embedder) -> npt.NDArray[np.float32]:
    """`(n, dim)` unit vectors of images by a frozen embedder."""
    found = kept(images, f"vector {base.fingerprint}", lambda part: list(base.embed(part)), at_once=64)
    return np.stack(found) if found else np.zeros((0, base.dim), np.float32)


def middle_views(images: Sequence[Image], base: Patches) -> npt.NDArray[np.uint8]:
    """`(n, 3, H, W)` each image's middle view, as the tower takes it."""
    views = [base.preprocess(image) for image in images]
    return np.stack([v[len(v) // 2] for v in views])


def in_a_graph(x: Tensor) -> Tensor:
    """A copy that may stand in the graph of what is trained: tensors made in inference mode may not."""
    with torch.inference_mode(False):
        return x.clone()
