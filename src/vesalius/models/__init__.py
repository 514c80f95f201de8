"""Models behind capabilities, loaded by name. Nothing heavy is imported before a model is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vesalius import late_binding
from vesalius.errors import MissingError, UsageError
from vesalius.models.store import find

if TYPE_CHECKING:
    from vesalius.models.protocols import Classifier, Embedder, Grounder, Segmenter

#: manifest kind to (module, class) of the loader: an allow-list, so that a manifest cannot name code.
_LOADERS = {
    "nano": ("vesalius.models.nano.model", "Nano"),
    "medsam": ("vesalius.models.medsam.model", "MedSam"),
    "transformers": ("vesalius.models.checkpoints", "CheckpointEmbedder"),
}

__all__ = ["load", "pick_device"]


#: Capability to the method that a model with it has.
_METHOD = {"embed": "embed", "classify": "predict_proba", "ground": "ground", "segment": "segment"}
Capability = Literal["embed", "classify", "ground", "segment"]


@overload
def load(name: str = ..., *, device: str = ..., online: bool = ..., can: None = ...) -> Any: ...
@overload
def load(name: str = ..., *, device: str = ..., online: bool = ..., can: Literal["embed"]) -> Embedder: ...
@overload
def load(name: str = ..., *, device: str = ..., online: bool = ..., can: Literal["classify"]) -> Classifier: ...
@overload
def load(name: str = ..., *, device: str = ..., online: bool = ..., can: Literal["ground"]) -> Grounder: ...
@overload
def load(name: str = ..., *, device: str = ..., online: bool = ..., can: Literal["segment"]) -> Segmenter: ...
def load(name: str = "nano", *, device: str = "auto", online: bool = False, can: Capability | None = None) -> Any:
    """Load a model.

    Args:
        name: A name in the store (`nano`), `dir:FOLDER` (a model folder or a transformers checkpoint), or
            `hf:owner/name` (fetched into the store first, only with `online=True`; afterwards found offline).
        device: `auto`, `cpu`, `cuda:N` or `mps`.
        online: Allow the network for `hf:`.
        can: What it will be asked for; the answer is typed accordingly.

    Raises:
        MissingError: There is no such model, a piece of it is missing, or it cannot do what is asked.
        UsageError: The device is not there, or the network would be needed but was not allowed.
    """
    model = _load(name, device, online)
    if can is not None and not hasattr(model, _METHOD[can]):
        able = [c for c, method in _METHOD.items() if hasattr(model, method)]
        raise MissingError(
            f"the model cannot {can}", item=name, why=f"it can {', '.join(able) or 'do none of the verbs'}",
            fix="see `vesalius models list` for one that can",
        )  # fmt: skip
    # A head has a fingerprint of its own: what it makes of a picture is not what the tower's vectors belong to.
    return getattr(model, "segmenter", model) if can == "segment" else model


def _load(name: str, device: str, online: bool) -> Any:
    where = pick_device(device)
    if name.startswith("dir:"):
        return _open(Path(name[4:]), name, where)
    if name.startswith("hf:"):
        from vesalius.models import store

        stored = name[3:].lower().replace("/", "--").replace("@", "--")
        try:
            entry = store.find(stored)
        except MissingError:
            if not online:
                raise MissingError(
                    "model is not in the store",
                    item=name,
                    why="the network is not used unasked",
                    fix=f"run `vesalius models get {name} --online` once",
                ) from None
            entry = store.get(name[3:], stored, online=True)
        return _open(entry.folder, name, where)
    if name.startswith("openai:"):
        raise UsageError(
            "an openai: endpoint cannot embed images", item=name, fix="use it for asking, not for indexing"
        )
    entry = find(name)
    return _open(entry.folder, entry.name, where)


def _open(folder: Path, name: str, device: str) -> Any:
    kind = "transformers"
    if (folder / "model.json").is_file():
        from vesalius.models.manifest import Manifest

        kind = Manifest.read(folder).kind
    if kind in late_binding.model_loaders:
        return late_binding.model_loaders[kind](folder, device)
    if kind not in _LOADERS:
        raise MissingError(
            "no loader for this kind of model", item=f"{folder}: {kind}", why=f"known: {', '.join(_LOADERS)}"
        )
    module, cls = _LOADERS[kind]
    loader: Any = getattr(importlib.import_module(module), cls)
    return loader(folder, name, device=device) if kind == "transformers" else loader(folder, device=device)


def pick_device(asked: str) -> str:
    """The torch device behind `auto`, `cpu`, `cuda:N` or `mps`.

    Raises:
        UsageError: It is not a device, or not there.
    """
    import torch

    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(asked).type
    except RuntimeError as error:
        raise UsageError("not a device", item=asked, fix="use auto, cpu, cuda:N or mps") from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, False):
        raise UsageError("device is not there", item=asked, fix="use --device cpu")
    return asked
