"""What a system is: a recipe that trains a model from cases, and a check of its claim against its own ablation."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file, save_file
from torch import nn

from vesalius.cases import Case, Image
from vesalius.errors import BadInputError, MissingError
from vesalius.models.manifest import Manifest, describe_files
from vesalius.systems.frame.catalogue import Entry, find, open_system
from vesalius.systems.frame.claims import Claim, Data
from vesalius.training.loop import History, Plan, Step, train_loop

__all__ = [
    "Claim",
    "ClassifierModel",
    "Data",
    "Job",
    "System",
    "SystemModel",
    "load_model",
    "run_training",
    "save_model",
]

Floats = npt.NDArray[np.float64]
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
#: The manifest's kind of a model that a system trained.
KIND = "system"


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Job:
    """How much to train, on what, and where to say how it goes.

    Args:
        steps: Optimiser steps; None takes the recipe's own number.
        seconds: Stop after so much wall time, whatever the step; None never.
        seed: Seed of everything random.
        target: Label that a classifier learns; "" where the cases have one class each (`inputs.labelled`).
        device: torch device.
        work: Folder for checkpoints; None keeps none.
        resume: Go on from the checkpoint in `work`.
        online: Allow the network, for a recipe that asks a server.
        options: What this recipe takes beside cases, by name; each is a key of `System.options`.
        say: Takes lines about progress.
    """

    steps: int | None = None
    seconds: float | None = None
    seed: int = 0
    target: str = ""
    device: str = "cpu"
    work: Path | None = None
    resume: bool = False
    online: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = field(default=_silent, compare=False)


class SystemModel(ABC):
    """A trained system: a net, the plain configuration it was built from, and what it can do.

    A subclass builds `net` from `config` alone, so that another process restores it from a model folder. Frozen
    towers (nano) are not part of `net`: the config names them with their fingerprint.

    Args:
        config: Plain JSON data; everything that `net` and prediction depend on except the weights.
        device: torch device.
    """

    #: Name of the system in the catalogue.
    system: ClassVar[str]
    #: What `load(..., can=)` may ask it for.
    capabilities: ClassVar[tuple[str, ...]]

    def __init__(self, config: Mapping[str, Any], device: str = "cpu") -> None:
        self.config, self.device = dict(config), device
        self.net = self.build().to(device).eval()

    @property
    def name(self) -> str:
        """Name for messages and reports."""
        return self.system

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and configuration: which model gave an answer, an index or a kept embedding."""
        return self.weights_hash()

    def weights_hash(self) -> str:
        """SHA-256 over configuration and weights: the same for a model in memory and its folder."""
        h = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        for key, value in sorted(self.net.state_dict().items()):
            h.update(key.encode())
            h.update(value.detach().cpu().contiguous().numpy().tobytes())
        return h.hexdigest()

    @abstractmethod
    def build(self) -> nn.Module:
        """The net with untrained weights: which parts the system joins."""

    @abstractmethod
    def predict(self, cases: Sequence[Case]) -> Floats:
        """`(n, k)` numbers that the capability stands on: probabilities, box corners, Dice-able mask values, ..."""


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

    def predict(self, cases: Sequence[Case]) -> Floats:
        """`(n, classes)` probabilities of each case's first image.

        Raises:
            BadInputError: A case has no image.
        """
        bare = next((case.id for case in cases if not case.images), None)
        if bare is not None:
            raise BadInputError("the case has no image", item=bare)
        return self.predict_proba([case.images[0] for case in cases])

    def predict_cases(self, cases: Sequence[Case]) -> Floats:
        """`(n, classes)` probabilities of whole cases, by `predict`: what `classify` and `audit` ask for."""
        return self.predict(cases)


class System(ABC):
    """A recipe. One module of the room holds one, as `SYSTEM`."""

    name: ClassVar[str]
    #: The claim, in one sentence.
    claim: ClassVar[str]
    model: ClassVar[type[SystemModel]]
    #: On what `check` can run; `real` only where ../data-like folders hold the card's task.
    data: ClassVar[tuple[Data, ...]] = ("phantom",)
    #: What `train` takes beside cases: name to what it means (`vesalius train NAME --set name=value`).
    options: ClassVar[Mapping[str, str]] = {}

    @property
    def entry(self) -> Entry:
        """Its row of the catalogue."""
        return find(self.name)

    @abstractmethod
    def example(self, n: int, seed: int) -> list[Case]:
        """Phantom cases of the kind that the system trains on."""

    @abstractmethod
    def train(self, cases: Sequence[Case], job: Job) -> SystemModel:
        """Train on cases; every figure in the model's config comes from them.

        Raises:
            BadInputError: The cases lack what the system learns from; the message says what.
        """

    @abstractmethod
    def check(
        self, seed: int, data: Data = "phantom", *, folder: Path | None = None, job: Job | None = None
    ) -> tuple[Claim, ...]:
        """Train the mechanism and its ablation alike and compare them on cases neither has seen.

        Args:
            seed: Seed of cases, split, training and resampling.
            data: Phantoms, or real cases.
            folder: Folder with the open data sets, for `real`.
            job: Only for a shorter check (tests); its seed is ignored.

        Returns:
            The claims, the main one first.
        """


def run_training(model: SystemModel, step: Step, job: Job, *, steps: int, **plan: Any) -> History:
    """Train a model's net as the job says.

    Args:
        model: Its `net` is trained in place and left in evaluation mode.
        step: Gives the losses of one batch (see `training.loop`).
        job: How long, from which seed, where checkpoints go.
        steps: The recipe's own number of steps, where the job names none.
        plan: More fields of `training.loop.Plan`.
    """
    made = Plan(steps=job.steps or steps, seed=job.seed, **plan)
    return train_loop(
        model.net, step, made, seconds=job.seconds, work=job.work, resume=job.resume, say=job.say, device=job.device
    )


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
    system = open_system(str(manifest.notes.get("system", "")))
    if not {WEIGHTS, CONFIG} <= set(manifest.files):
        raise MissingError("model is not whole", item=str(folder), why=f"{WEIGHTS} or {CONFIG} is not in its manifest")
    try:
        model = system.model(json.loads((folder / CONFIG).read_text("utf-8")), device)
        model.net.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadInputError("model's pieces do not fit", item=str(folder), why=str(error)[:300]) from error
    model.net.eval()
    return model
