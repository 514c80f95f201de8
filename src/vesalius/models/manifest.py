"""A model folder: weights, config, tokenizer and preprocessing together, each with its SHA-256, in one `model.json`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.errors import BadInputError, MissingError

MANIFEST = "model.json"
#: What every command leaves in its `--out`.
RUN = "run.json"
SCHEMA = 1
#: Files larger than this are checked by size when a model is loaded; `vesalius models verify` hashes everything.
HASH_ON_LOAD = 512 * 2**20
_FORBIDDEN = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".py", ".h5", ".msgpack")


@dataclass(frozen=True)
class External:
    """A file that a Python package brings, used in place rather than copied.

    Args:
        module: Importable name of the package.
        file: Path inside the package.
        sha256: Hash of the file.
        requirement: What to `pip install`.
    """

    module: str
    file: str
    sha256: str
    requirement: str

    def path(self) -> Path:
        """Where the file is.

        Raises:
            MissingError: The package is not installed or does not hold the file.
        """
        # A dotted name would import its parent, and a path could leave the package: a manifest may be a stranger's.
        if not self.module.isidentifier() or Path(self.file).is_absolute() or ".." in Path(self.file).parts:
            raise BadInputError("model names a file outside a package", item=f"{self.module}: {self.file}")
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingError(
                "a model's package is not installed", item=self.requirement, fix=f"run `pip install {self.requirement}`"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        if not path.is_file():
            raise MissingError("a model's package lacks a file", item=f"{self.requirement}: {self.file}")
        return path


@dataclass(frozen=True)
class Manifest:
    """What `model.json` says.

    Args:
        name: Name in the store.
        kind: Which loader understands the folder (`nano`, `transformers`, ...).
        version: Version of the weights.
        capabilities: What the model can do (`embed`, `text`, `segment`, ...).
        licence: Licence of the weights.
        title: One line for listings.
        dim: Length of an embedding, 0 when it has none.
        preprocess: Fields of `ViewPreprocess`.
        files: File name to `{"sha256", "bytes"}`.
        external: Role to `External`.
        notes: More plain facts (intended use, training data, numbers).
    """

    name: str
    kind: str
    version: str = "1"
    capabilities: tuple[str, ...] = ()
    licence: str = ""
    title: str = ""
    dim: int = 0
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    external: Mapping[str, External] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that changes the model's vectors: file hashes, preprocessing, kind.

        Heads (`head-*`: boxes, masks) read the model but change no vector, so an index outlives a new head; nor does
        the list of what the model has seen.
        """
        aside = {n for n in self.files if n in ("held_out.json", "seen.safetensors") or n.startswith("head-")}
        facts = {
            "kind": self.kind,
            "preprocess": dict(self.preprocess),
            "files": {n: f["sha256"] for n, f in self.files.items() if not n.endswith(".md") and n not in aside},
            "external": {role: e.sha256 for role, e in self.external.items()},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "kind": self.kind,
            "version": self.version,
            "title": self.title,
            "capabilities": list(self.capabilities),
            "licence": self.licence,
            "dim": self.dim,
            "preprocess": dict(self.preprocess),
            "files": {k: dict(v) for k, v in self.files.items()},
            "external": {k: vars(v) for k, v in self.external.items()},
            "notes": dict(self.notes),
        }

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `model.json` of a folder.

        Raises:
            MissingError: There is none.
            BadInputError: It is not a manifest this version reads.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise MissingError("not a model folder", item=str(folder), why=f"there is no {MANIFEST}")
        try:
            data = json.loads(path.read_text("utf-8"))
            schema = data.pop("schema")
            if schema != SCHEMA:
                raise BadInputError(
                    "cannot read model", item=str(path), why=f"schema {schema}, this version reads {SCHEMA}"
                )
            data["external"] = {k: External(**v) for k, v in data.get("external", {}).items()}
            data["capabilities"] = tuple(data.get("capabilities", ()))
            manifest = cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadInputError("cannot read model", item=str(path), why=str(error)) from error
        if not isinstance(manifest.files, dict):
            raise BadInputError("cannot read model", item=str(path), why="files is not an object")
        for name, facts in manifest.files.items():
            known = facts if isinstance(facts, dict) else {}
            if not (isinstance(known.get("sha256"), str) and isinstance(known.get("bytes"), int)):
                raise BadInputError("cannot read model", item=f"{path}: {name}", why="it has no sha256 or size")
            if Path(name).name != name or name.lower().endswith(_FORBIDDEN):
                raise BadInputError(
                    "model names a file it may not have",
                    item=f"{path}: {name}",
                    why="only plain data files beside it are read",
                )
        return manifest

    def write(self, folder: Path) -> None:
        """Write `model.json` (last of all files, so that a half-written folder is not a model)."""
        part = folder / (MANIFEST + ".part")
        part.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(folder / MANIFEST)

    def problems(self, folder: Path, *, hash_all: bool = True) -> list[str]:
        """What is wrong with the folder: files missing or changed. Empty when all is well."""
        out = []
        for name, facts in self.files.items():
            path = folder / name
            if not path.is_file():
                out.append(f"{name} is missing")
            elif path.stat().st_size != facts["bytes"]:
                out.append(f"{name} has {path.stat().st_size} bytes, the manifest says {facts['bytes']}")
            elif (hash_all or facts["bytes"] <= HASH_ON_LOAD) and sha256(path) != facts["sha256"]:
                out.append(f"{name} is not the file the manifest names (its SHA-256 differs)")
        for role, external in self.external.items():
            try:
                if sha256(external.path()) != external.sha256:
                    out.append(f"{role}: {external.requirement} holds another {external.file} (its SHA-256 differs)")
            except MissingError as error:
                out.append(str(error))
        return out

    def require_whole(self, folder: Path) -> None:
        """Refuse a folder that is not what its manifest says.

        Raises:
            MissingError: A piece is missing or changed; the message names it.
        """
        found = self.problems(folder, hash_all=False)
        if found:
            raise MissingError(
                "model is not whole",
                item=self.name,
                why="; ".join(found),
                fix="get it again, or run `vesalius models verify`",
            )


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Name, hash and size of every data file in a folder, for a new manifest.

    `run.json` is left out: it tells of the command that wrote the folder, and the next command writes another.
    """
    return {
        p.name: {"sha256": sha256(p), "bytes": p.stat().st_size}
        for p in sorted(folder.iterdir())
        if p.is_file() and p.name not in (MANIFEST, RUN) and not p.name.startswith(".")
    }


def sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
