"""A trained system: a net, the plain configuration it is built from, what it can do; and its folder."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file, save_file
from torch import nn

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models.manifest import Manifest, describe_files
from vesalius.systems.frame.catalogue import find, open_recipe

Floats = npt.NDArray[np.float64]
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
#: The manifest's kind of a model that a system trained.
KIND = "system"


class SystemModel(ABC):
    """A trained system: a net, the plain configuration it was built from, and what it can do.

    A subclass builds `net` from `config` alone, so that another process restores it from a model folder. Frozen
    towers are not part of `net`: the config names them with their fingerprint. Beside this a model has the methods of
    its capabilities (`models.protocols`), and nothing else is asked of it.

    Args:
        config: Plain JSON data; everything that `net` and its answers depend on except the weights.
        device: torch device.
    """

    #: Name of the system in the catalogue.
    system: ClassVar[str]
    #: What it can be asked for; each is exercised by `conformance` through the method that verbs call.
    capabilities: ClassVar[tuple[str, ...]]
    #: Where it was loaded from; what it was trained on is told there.
    folder: Path | None = None

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.config, self.device = dict(config), device
        self.net = self.build().to(device).eval()

    @property
    def name(self) -> str:
        """Name for messages and reports."""
        return self.system

    @property
    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights: the same for a model in memory and its folder."""
        h = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for key, value in sorted(self.net.state_dict().items()):
            h.update(key.encode())
            h.update(value.detach().cpu().contiguous().numpy().tobytes())
        return h.hexdigest()

    @abstractmethod
    def build(self) -> nn.Module:
        """The net with untrained weights: which parts the system joins."""


class ClassifierModel(SystemModel):
    """A system whose model gives probabilities of named classes; `config["classes"]` names them."""

    capabilities: ClassVar[tuple[str, ...]] = ("classify",)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the columns."""
        return tuple(self.config["classes"])

    @abstractmethod
    def predict_proba(self, images: Sequence[Image]) -> Floats:
        """`(n, classes)` probabilities of images."""

    def predict_cases(self, cases: Sequence[Case]) -> Floats:
        """`(n, classes)` probabilities of each case's first image: what `classify` and `audit` ask for.

        Raises:
            BadInputError: A case has no image.
        """
        bare = next((case.id for case in cases if not case.images), None)
        if bare is not None:
            raise BadInputError("the case has no image", item=bare)
        return self.predict_proba([case.images[0] for case in cases])


def save_model(model: SystemModel, folder: Path, notes: Mapping[str, Any] | None = None) -> Manifest:
    """Write a model folder that `load` takes: weights, config, manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in model.net.state_dict().items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
    (folder / CONFIG).write_text(json.dumps(model.config, indent=1, ensure_ascii=False) + "\n", "utf-8")
    entry = find(model.system)
    described = describe_files(folder)
    manifest = Manifest(
        name=model.system,
        kind=KIND,
        capabilities=model.capabilities,
        licence="as the cases it was trained on",
        title=f"{entry.title}: {entry.job}"[:100],
        files={name: described[name] for name in (WEIGHTS, CONFIG)},
        notes={"system": model.system, **(notes or {})},
    )
    manifest.write(folder)
    return manifest


def load_model(folder: Path, device: str = "cpu") -> SystemModel:
    """Restore a model that `save_model` wrote.

    Raises:
        MissingError: A piece is missing or changed, or the system does not work here.
        BadInputError: The pieces do not fit together.
    """
    manifest = Manifest.read(folder)
    manifest.require_whole(folder)
    recipe = open_recipe(str(manifest.notes.get("system", "")))
    if not {WEIGHTS, CONFIG} <= set(manifest.files):
        raise MissingError("model is not whole", item=str(folder), why=f"{WEIGHTS} or {CONFIG} is not in its manifest")
    try:
        model = recipe.model(json.loads((folder / CONFIG).read_text("utf-8")), device)
        model.net.load_state_dict(load_file(folder / WEIGHTS))
        model.folder = folder
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadInputError("model's pieces do not fit", item=str(folder), why=str(error)[:300]) from error
    model.net.eval()
    return model
