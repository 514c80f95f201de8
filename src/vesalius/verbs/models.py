"""List, inspect, add, get, verify and remove models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import ExitCode
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.results import hidden, table

if TYPE_CHECKING:
    from vesalius.models.store import Entry


@dataclass(frozen=True)
class Stored(Result):
    """One model of the store."""

    name: str
    origin: str
    version: str
    title: str
    capabilities: tuple[str, ...]
    licence: str
    dim: int
    bytes: int
    fingerprint: str
    manifest: Mapping[str, Any] | None = None
    did: str = hidden(default="")
    card: str = hidden(default="")

    def lines(self) -> Iterator[str]:
        """What was done, or everything about it with its card."""
        if self.did:
            yield f"{self.did} {self.name} ({self.fingerprint[:12]})"
            return
        for key, value in self.to_dict().items():
            if key != "manifest":
                yield f"{key:<14} {', '.join(value) if isinstance(value, list) else value}"
        if self.card:
            yield from ("", self.card)


@dataclass(frozen=True)
class Store(Result):
    """The models in the store."""

    models: tuple[Stored, ...]

    def lines(self) -> Iterator[str]:
        """A table."""
        rows = [
            (m.name, m.origin, ",".join(m.capabilities), f"{m.bytes / 2**20:.1f} MB", m.licence, m.title)
            for m in self.models
        ]
        yield from table(rows, ("name", "origin", "can", "size", "licence", "what"))


@dataclass(frozen=True)
class ListModels(Args):
    """Which models."""

    capability: str = arg("only models that can do this (embed, text, ...)", "", metavar="VERB")


@verb("models list", "set up", reads_only=True)
def list_models(args: ListModels, job: Job) -> Store:
    """Models in the store."""
    from vesalius.models import store

    for folder, why in store.broken():
        job.refuse(folder, why)
    found = [e for e in store.entries() if not args.capability or args.capability in e.manifest.capabilities]
    return Store(tuple(_stored(e) for e in found))


@dataclass(frozen=True)
class Named(Args):
    """One model."""

    name: str = arg("name in the store", positional=True)


@verb("models info", "set up", reads_only=True)
def info(args: Named, job: Job) -> Stored:
    """Everything about one model, with its card."""
    from vesalius.models import store

    entry = store.find(args.name)
    card = entry.folder / "card.md"
    return _stored(entry, manifest=entry.manifest.to_dict(), card=card.read_text("utf-8") if card.is_file() else "")


@dataclass(frozen=True)
class AddModel(Args):
    """What to add."""

    folder: Path = arg("folder with all of the model's files", positional=True)
    name: str = arg("name in the store")


@verb("models add", "set up")
def add(args: AddModel, job: Job) -> Stored:
    """Copy a model folder or a transformers checkpoint into the store."""
    from vesalius.models import store

    return _stored(store.add(args.folder, args.name), did="added")


@dataclass(frozen=True)
class GetModel(Args):
    """What to get."""

    repository: str = arg("hf:owner/name, with @revision if wanted", positional=True)
    name: str = arg("name in the store (default: made from the repository)", "")


@verb("models get", "set up", uses=("online",), long=True)
def get(args: GetModel, job: Job) -> Stored:
    """Fetch a checkpoint from the Hugging Face hub (needs --online)."""
    from vesalius.models import store

    repository = args.repository.removeprefix("hf:")
    name = args.name or repository.lower().replace("/", "--").replace("@", "--")
    return _stored(store.get(repository, name, online=job.online), did="got")


@dataclass(frozen=True)
class VerifyModels(Args):
    """Which models."""

    name: str = arg("name in the store (default: every model)", "", positional=True)


@dataclass(frozen=True)
class Verified(Result):
    """Models and what is wrong with each."""

    problems: Mapping[str, tuple[str, ...]]

    def lines(self) -> Iterator[str]:
        """One a model."""
        for name, found in self.problems.items():
            yield f"{name}: {'; '.join(found) or 'whole'}"

    @property
    def exit_code(self) -> ExitCode:
        """4 where a model is not whole."""
        return ExitCode.MISSING if any(self.problems.values()) else ExitCode.OK


@verb("models verify", "set up", reads_only=True, exits={ExitCode.MISSING: "a model is not whole"})
def verify(args: VerifyModels, job: Job) -> Verified:
    """Hash every file of every (or one) model."""
    from vesalius.models import store

    entries = [store.find(args.name)] if args.name else list(store.entries())
    found = {e.name: tuple(e.manifest.problems(e.folder)) for e in job.progress(entries, len(entries), "hashing")}
    return Verified(found | ({} if args.name else {folder: (why,) for folder, why in store.broken()}))


@dataclass(frozen=True)
class Removed(Result):
    """A model that is gone."""

    removed: str

    def lines(self) -> Iterator[str]:
        """One."""
        yield f"removed {self.removed}"


@verb("models remove", "set up")
def remove(args: Named, job: Job) -> Removed:
    """Delete an added model."""
    from vesalius.models import store

    store.remove(args.name)
    return Removed(args.name)


def _stored(entry: Entry, **more: Any) -> Stored:
    facts = entry.to_dict()
    facts["capabilities"] = tuple(facts["capabilities"])
    return Stored(**facts, **more)
