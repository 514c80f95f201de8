"""What lower floors call without importing the floors above them; set once, when the package is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vesalius.cases.image import Image

#: Who turns an image with a uri into its array.
image_reader: Callable[[Image], Any] | None = None


def set_image_reader(reader: Callable[[Image], Any] | None) -> None:
    """Say who reads image files; `vesalius` does so on import, a test may replace it."""
    global image_reader
    image_reader = reader
