"""`doctor`: what this machine and installation can do, and a short self-test."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius import __version__
from vesalius.errors import ExitCode, VesaliusError
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb

#: What an optional package is for, and how to get it.
OPTIONAL = {
    "faiss": ("approximate search above 100,000 images", "pip install 'vesalius[faiss]'"),
    "av": ("video files", "pip install 'vesalius[video]'"),
    "rapidocr_onnxruntime": ("finding burned-in text", "pip install 'vesalius[ocr]'"),
    "pyarrow": ("case sets as Parquet", "pip install 'vesalius[parquet]'"),
    "skimage": ("the demo's fundus and histology images", "pip install 'vesalius[demo]'"),
}


@dataclass(frozen=True)
class Doctor(Args):
    """What to look at."""

    self_test: bool = arg("load the default model and try it", True)


@dataclass(frozen=True)
class ModelState:
    """A model of the store: `whole`, or what is wrong with it."""

    name: str
    origin: str
    state: str


@dataclass(frozen=True)
class Diagnosis(Result):
    """What is here."""

    vesalius: str
    python: str
    system: str
    cores: int | None
    memory_gb: float | None
    disk_free_gb: float
    sqlite: str
    full_text_search: bool
    devices: tuple[str, ...]
    decoders: Mapping[str, str]
    optional: Mapping[str, bool]
    models: tuple[ModelState, ...]
    self_test: str | None = None

    def lines(self) -> Iterator[str]:
        """Everything, and how to get what is not there."""
        for key in (
            "vesalius", "python", "system", "cores", "memory_gb", "disk_free_gb", "sqlite", "full_text_search",
        ):  # fmt: skip
            yield f"{key.replace('_', ' '):<18} {getattr(self, key)}"
        yield f"{'devices':<18} {', '.join(self.devices)}"
        yield from ("", "decoders")
        for name, state in self.decoders.items():
            yield f"  {name:<22} {state}"
        yield from ("", "optional packages")
        for name, there in self.optional.items():
            use, how = OPTIONAL[name]
            yield f"  {name:<20} {'yes' if there else 'no'}   {use}{'' if there else f' ({how})'}"
        yield from ("", "models")
        for model in self.models:
            yield f"  {model.name:<20} {model.state}"
        if self.self_test is not None:
            yield from ("", f"self-test: {self.self_test}")

    @property
    def exit_code(self) -> ExitCode:
        """4 where a model is not whole or does not work."""
        bad = any(m.state != "whole" for m in self.models) or self.self_test not in (None, "ok")
        return ExitCode.MISSING if bad else ExitCode.OK


@verb("doctor", "set up", reads_only=True, exits={ExitCode.MISSING: "a model is not whole, or the self-test failed"})
def doctor(args: Doctor, job: Job) -> Diagnosis:
    """What this machine and installation can do."""
    import importlib.util
    import platform
    import shutil
    import sqlite3

    return Diagnosis(
        vesalius=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        memory_gb=_memory(),
        disk_free_gb=round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        sqlite=sqlite3.sqlite_version,
        full_text_search=_fts5(),
        devices=tuple(_devices()),
        decoders=_decoders(),
        optional={n: importlib.util.find_spec(n) is not None for n in OPTIONAL},
        models=tuple(_models()),
        self_test=_self_test() if args.self_test else None,
    )


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _fts5() -> bool:
    import sqlite3

    with sqlite3.connect(":memory:") as db:
        return any("ENABLE_FTS5" in row[0] for row in db.execute("pragma compile_options"))


def _devices() -> list[str]:
    import torch

    out = [f"cpu ({torch.get_num_threads()} threads)"]
    out += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return out + (["mps"] if torch.backends.mps.is_available() else [])


def _decoders() -> dict[str, str]:
    from vesalius.io.dicom.compressions import COMPRESSIONS

    return {c.name: f"no     {install}" if (install := c.missing()) else "yes" for c in COMPRESSIONS.values()}


def _models() -> Iterator[ModelState]:
    from vesalius.models import store

    for entry in store.entries():
        problems = entry.manifest.problems(entry.folder, hash_all=False)
        yield ModelState(entry.name, entry.origin, "; ".join(problems) or "whole")
    for folder, why in store.broken():
        yield ModelState(folder, "?", why)


def _self_test() -> str:
    """Embed a drawn picture and a sentence with the default model."""
    import numpy as np

    from vesalius.cases import Image
    from vesalius.models import load

    try:
        model = load("nano", device="cpu")
        picture = Image(array=(np.indices((64, 64)).sum(0) % 256).astype(np.uint8), modality="DX")
        vectors = np.concatenate([model.embed([picture]), model.embed_text(["chest x-ray"])])
        return "ok" if np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4) else "vectors are not of length 1"
    except VesaliusError as error:
        return str(error)
