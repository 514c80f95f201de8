"""The work of `vesalius data deid`: every DICOM file below a folder, each in a bounded child process."""

from __future__ import annotations

import argparse
import secrets
from functools import partial
from pathlib import Path
from typing import Literal

from vesalius.cli.common import Run
from vesalius.errors import MissingError, UsageError, VesaliusError
from vesalius.io.dicom.deid import deidentify_file
from vesalius.io.pool.pool import DecodePool


def deidentify_folder(options: argparse.Namespace, run: Run) -> None:
    """De-identify what can be, name what cannot; names in messages are file names, never what is in a header."""
    source: Path = options.source
    if not source.exists():
        raise MissingError("no such file or folder", item=str(source))
    if source.is_dir() and options.to.resolve().is_relative_to(source.resolve()):
        raise UsageError("the result may not lie inside the source", item=str(options.to))
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file() and not p.is_symlink())
    files = files[: options.limit]
    run.result = {"files": len(files), "written": 0, "to": str(options.to)}
    if options.dry_run:
        run.say(f"would look at {len(files)} file(s)")
        return
    key = _key(options.key_file, run)
    burned_in: Literal["ocr", "keep", "refuse"] = "refuse"
    if options.ocr:
        burned_in = "ocr"
    elif options.allow_burned_in:
        burned_in = "keep"
    work = partial(_one, folder=str(options.to), key=key, burned_in=burned_in)
    with DecodePool(1) as pool:
        for index, result in pool.map(work, [str(f) for f in files]):
            if isinstance(result, VesaliusError):
                run.refuse(str(files[index]), result)
            else:
                run.result["written"] += 1
    run.say(f"{run.result['written']} of {len(files)} file(s) de-identified into {options.to}")
    run.say("De-identification is a best effort: look at the pictures before you share them.")


def _one(path: str, *, folder: str, key: str, burned_in: Literal["ocr", "keep", "refuse"]) -> str:
    return deidentify_file(path, folder, key, burned_in=burned_in).name


def _key(path: Path | None, run: Run) -> str:
    """The secret: read from the file, made and kept there when there is none yet, or made and forgotten."""
    if path is None:
        run.note("no --key-file: a new secret is used once and forgotten, so another run gives other pseudonyms")
        return secrets.token_hex(32)
    if path.is_file():
        return path.read_text("utf-8").strip()
    key = secrets.token_hex(32)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(key + "\n", "utf-8")
    run.note(f"a new secret was written to {path}: keep it, and keep it apart from the images")
    return key
