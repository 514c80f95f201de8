"""What lower floors call without importing the floors above them; set once, when the package is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Who turns a `cases.Image` with a uri into its array. Not typed by it: this module lies below the record.
image_reader: Callable[[Any], Any] | None = None


def set_image_reader(reader: Callable[[Any], Any] | None) -> None:
    """Say who reads image files; `vesalius` does so on import, a test may replace it."""
    global image_reader
    image_reader = reader


#: Manifest kind to who opens such a model folder `(folder, device)`, for kinds that higher floors define.
model_loaders: dict[str, Callable[[Path, str], Any]] = {}


def add_model_loader(kind: str, loader: Callable[[Path, str], Any]) -> None:
    """Say who opens model folders of a kind; `vesalius` does so on import."""
    model_loaders[kind] = loader
