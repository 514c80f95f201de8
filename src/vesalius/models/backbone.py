"""What a head asks of the frozen model that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vesalius.models.protocols import AnyArray, Preprocess

if TYPE_CHECKING:
    from vesalius.nn.efficientnet import Pyramid


class Backbone(Protocol):
    """An image tower that gives maps, and a text tower."""

    device: str
    batch_size: int

    @property
    def name(self) -> str:
        """Name in the model store."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, tokenizer and preprocessing: what a head was trained on."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """The image side's preprocessing."""
        ...

    @property
    def text_tower(self) -> Any:
        """Called with texts, it gives their vectors; `states(texts)` gives those of their tokens."""
        ...

    def patches(self, views: AnyArray) -> Pyramid:
        """Feature maps of `(n, 3, H, W)` 8-bit views."""
        ...


#: Texts to `(n, d)` sentence vectors.
TextTower = Callable[[Sequence[str]], AnyArray]
