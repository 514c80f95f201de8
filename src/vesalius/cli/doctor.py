"""`vesalius doctor`: what this machine and installation can do, and a short self-test."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from vesalius import __version__
from vesalius.cli.common import Run, add_flags
from vesalius.errors import ExitCode, VesaliusError

#: What an optional package is for, and how to get it.
OPTIONAL = {
    "faiss": ("approximate search above 100,000 images", "pip install 'vesalius[faiss]'"),
    "av": ("video files", "pip install 'vesalius[video]'"),
    "rapidocr_onnxruntime": ("finding burned-in text", "pip install 'vesalius[ocr]'"),
    "pyarrow": ("case sets as Parquet", "pip install 'vesalius[parquet]'"),
    "skimage": ("the demo's fundus and histology images", "pip install 'vesalius[demo]'"),
}
#: Transfer syntaxes whose decoders are looked for: name, UID.
SYNTAXES = {
    "RLE lossless": "1.2.840.10008.1.2.5",
    "JPEG baseline": "1.2.840.10008.1.2.4.50",
    "JPEG lossless (SV1)": "1.2.840.10008.1.2.4.70",
    "JPEG-LS lossless": "1.2.840.10008.1.2.4.80",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("--no-self-test", action="store_true", help="do not load the default model")
    add_flags(parser)


def run(options: argparse.Namespace, run: Run) -> None:
    """Look around and report."""
    facts: dict[str, Any] = {
        "vesalius": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_gb": _memory(),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "sqlite": sqlite3.sqlite_version,
        "full_text_search": _fts5(),
        "devices": _devices(),
        "decoders": _decoders(),
        "optional": {n: _installed(n) for n in OPTIONAL},
        "models": _models(),
    }
    if not options.no_self_test:
        facts["self_test"] = _self_test()
    run.result = facts
    for key in ("vesalius", "python", "system", "cores", "memory_gb", "disk_free_gb", "sqlite", "full_text_search"):
        run.say(f"{key.replace('_', ' '):<18} {facts[key]}")
    run.say(f"{'devices':<18} {', '.join(facts['devices'])}")
    run.say("\ndecoders")
    for name, state in facts["decoders"].items():
        run.say(f"  {name:<20} {state}")
    run.say("\noptional packages")
    for name, there in facts["optional"].items():
        use, how = OPTIONAL[name]
        run.say(f"  {name:<20} {'yes' if there else 'no'}   {use}{'' if there else f' ({how})'}")
    run.say("\nmodels")
    for model in facts["models"]:
        run.say(f"  {model['name']:<20} {model['state']}")
    if "self_test" in facts:
        run.say(f"\nself-test: {facts['self_test']}")
    bad = [m for m in facts["models"] if m["state"] != "whole"]
    if bad or str(facts.get("self_test", "ok")) != "ok":
        run.exit_code = ExitCode.MISSING


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _fts5() -> bool:
    with sqlite3.connect(":memory:") as db:
        return any("ENABLE_FTS5" in row[0] for row in db.execute("pragma compile_options"))


def _devices() -> list[str]:
    import torch

    out = [f"cpu ({torch.get_num_threads()} threads)"]
    out += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return out + (["mps"] if torch.backends.mps.is_available() else [])


def _decoders() -> dict[str, str]:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    out = {}
    for name, uid in SYNTAXES.items():
        decoder = get_decoder(UID(uid))
        missing = "; ".join(decoder.missing_dependencies)
        out[name] = "yes" if decoder.is_available else f"no: {missing or 'no plugin'}"
    return out


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _models() -> list[dict[str, Any]]:
    from vesalius.models import store

    out = []
    for entry in store.entries():
        problems = entry.manifest.problems(entry.folder, hash_all=False)
        out.append({"name": entry.name, "origin": entry.origin, "state": "; ".join(problems) or "whole"})
    return out + [{"name": folder, "origin": "?", "state": why} for folder, why in store.broken()]


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
