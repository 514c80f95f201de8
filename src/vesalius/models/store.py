"""The model store: what ships with the package, what the user added, and how a name becomes a folder. No torch."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError
from vesalius.models.manifest import MANIFEST, Manifest, describe_files

SHIPPED = Path(__file__).parent / "shipped"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Entry:
    """One model of the store."""

    name: str
    folder: Path
    origin: Literal["shipped", "added"]
    manifest: Manifest

    def to_dict(self) -> dict[str, Any]:
        """Plain data for listings."""
        m = self.manifest
        return {
            "name": self.name,
            "origin": self.origin,
            "version": m.version,
            "title": m.title,
            "capabilities": list(m.capabilities),
            "licence": m.licence,
            "dim": m.dim,
            "bytes": sum(int(f["bytes"]) for f in m.files.values()),
            "fingerprint": m.fingerprint,
        }


def home() -> Path:
    """Where added models live: `$VESALIUS_HOME/models`, else the user's data folder. Not created here.

    Raises:
        UsageError: There is no such place: neither VESALIUS_HOME, XDG_DATA_HOME nor HOME is set. A shared temporary
            folder would do, but anyone could have put a model there.
    """
    base = os.environ.get("VESALIUS_HOME")
    if base:
        return Path(base) / "models"
    data = os.environ.get("XDG_DATA_HOME")
    if data:
        return Path(data) / "vesalius" / "models"
    try:
        user = Path.home()  # HOME, or the home of a user that the system knows
    except RuntimeError:
        user = Path()
    if not user.is_absolute():
        raise UsageError(
            "there is no place for added models",
            why="none of VESALIUS_HOME, XDG_DATA_HOME and HOME is set",
            fix="set VESALIUS_HOME to a folder that only you can write to",
        )
    return user / ".local" / "share" / "vesalius" / "models"


def entries() -> Iterator[Entry]:
    """Every model of the store, shipped ones first; a broken folder is left out (see `broken`)."""
    for origin, base in (("shipped", SHIPPED), ("added", home())):
        if not base.is_dir():
            continue
        for folder in sorted(base.iterdir()):
            if (folder / MANIFEST).is_file():
                try:
                    manifest = Manifest.read(folder)
                except (BadInputError, MissingError):
                    continue
                yield Entry(folder.name, folder, origin, manifest)  # type: ignore[arg-type] # the tuple's two literals


def broken() -> list[tuple[str, str]]:
    """Folders of the store whose manifest cannot be read: (folder, why)."""
    out = []
    for base in (SHIPPED, home()):
        for folder in sorted(base.iterdir()) if base.is_dir() else []:
            if (folder / MANIFEST).is_file():
                try:
                    Manifest.read(folder)
                except (BadInputError, MissingError) as error:
                    out.append((str(folder), str(error)))
    return out


def find(name: str) -> Entry:
    """The model with this name.

    Raises:
        MissingError: There is none; the message names what is nearest.
    """
    known = {entry.name: entry for entry in entries()}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise MissingError(
        "no such model",
        item=name,
        why=f"the store has {', '.join(known) or 'none'}",
        fix=f"did you mean {near[0]}?"
        if near
        else "see `vesalius models list`; add a folder with `vesalius models add`",
    )


def add(folder: Path, name: str) -> Entry:
    """Copy a model folder into the store under a name.

    A vesalius model folder is checked against its manifest; a checkpoint folder in the transformers format gets one.

    Raises:
        UsageError: The name is taken or not a name.
        BadInputError: The folder is no model, or holds pickled weights only.
        ResourceError: The store cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise UsageError("not a model name", item=name, fix="use lower case letters, digits, dot, dash, underscore")
    if any(entry.name == name for entry in entries()):
        raise UsageError("the store has a model of this name", item=name, fix="choose another name or remove it first")
    if (folder / MANIFEST).is_file():
        manifest = Manifest.read(folder)
        found = manifest.problems(folder)
        if found:
            raise BadInputError("model is not whole", item=str(folder), why="; ".join(found))
    else:
        from vesalius.models.checkpoints import describe_checkpoint

        manifest = describe_checkpoint(folder, name)
    target = home() / name
    if target.exists():
        raise UsageError("the store has a broken model of this name", item=str(target), fix="delete that folder first")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".adding-") as scratch:
            part = Path(scratch) / name
            part.mkdir()
            for file in manifest.files:
                shutil.copyfile(folder / file, part / file)
            Manifest(**{**vars(manifest), "name": name, "files": describe_files(part)}).write(part)
            part.rename(target)
    except OSError as error:
        raise ResourceError(
            "cannot write to the model store",
            item=str(home()),
            why=str(error),
            fix="set VESALIUS_HOME to a folder of yours",
        ) from error
    return find(name)


def remove(name: str) -> None:
    """Delete an added model.

    Raises:
        UsageError: The model ships with the package.
    """
    entry = find(name)
    if entry.origin == "shipped":
        raise UsageError("a shipped model cannot be removed", item=name)
    shutil.rmtree(entry.folder)


def get(repository: str, name: str, *, online: bool) -> Entry:
    """Fetch a checkpoint from the Hugging Face hub into the store.

    Args:
        repository: `owner/name`, with `@revision` if wanted.
        name: Name in the store.
        online: Must be True: vesalius never uses the network unless asked.

    Raises:
        UsageError: `online` is False.
        MissingError: The hub does not have it or cannot be reached.
    """
    if not online:
        raise UsageError("will not use the network unasked", item=repository, fix="pass --online")
    from huggingface_hub import snapshot_download  # here: only when the network was asked for

    repo, _, revision = repository.partition("@")
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home(), prefix=".getting-") as scratch:
        try:
            snapshot_download(
                repo,
                revision=revision or None,
                local_dir=scratch,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"],
            )
        except (OSError, ValueError) as error:
            raise MissingError("cannot get model", item=repository, why=str(error)[:300]) from error
        return add(Path(scratch), name)
