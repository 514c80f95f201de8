"""vesalius: one system for medical images and language.

The names below load what they need when they are first used, so `import vesalius` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vesalius import late_binding as _late

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pathlib import Path

    from vesalius.cases import Case, CaseSet, Image
    from vesalius.functions import *  # noqa: F403
    from vesalius.io import read
    from vesalius.library import Library
    from vesalius.models import load
    from vesalius.models.heads import Head

_LAZY = {
    "Case": "vesalius.cases",
    "CaseSet": "vesalius.cases",
    "Image": "vesalius.cases",
    "Library": "vesalius.library",
    "Head": "vesalius.models.heads",
    "load": "vesalius.models",
    "read": "vesalius.io",
}

__all__ = ["Case", "CaseSet", "Head", "Image", "Library", "__version__", "load", "read"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if not name.startswith("_"):
        try:
            return getattr(importlib.import_module("vesalius.functions"), name)
        except AttributeError:
            pass
    raise AttributeError(f"module 'vesalius' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *dir(importlib.import_module("vesalius.functions"))})


def _read_pixels(image: Image) -> Any:
    return importlib.import_module("vesalius.io").read_pixels(image)


def _open_system_model(folder: Path, device: str) -> Any:
    return importlib.import_module("vesalius.systems.frame.model").load_model(folder, device)


_late.set_image_reader(_read_pixels)


def _verb(name: str) -> Any:
    return getattr(importlib.import_module("vesalius.functions"), name)


_late.set_verbs(_verb)
_late.add_model_loader("system", _open_system_model)
