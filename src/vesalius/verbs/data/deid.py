"""`data deid`: every DICOM file below a folder without what identifies, each in a bounded child process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.errors import MissingError, UsageError, VesaliusError
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb

BurnedIn = Literal["ocr", "keep", "refuse"]


@dataclass(frozen=True)
class Deidentify(Args):
    """What to clean, and where to."""

    source: Path = arg("a DICOM file or a folder of them", positional=True)
    to: Path = arg("folder of the de-identified files", metavar="DIR")
    key_file: Path | None = arg("file with the secret that new UIDs and date shifts come from", None, metavar="FILE")
    ocr: bool = arg("look for burned-in text (needs the ocr extra)", False)
    allow_burned_in: bool = arg("also write files that may hold burned-in text (named in the report)", False)
    limit: int | None = arg("use the first N files only", None, metavar="N", low=1)
    dry_run: bool = arg("say what would be done, and do nothing", False)


@dataclass(frozen=True)
class Deidentified(Result):
    """How many files were written."""

    files: int
    written: int | None
    to: str

    def lines(self) -> Iterator[str]:
        """The count, and what it is worth."""
        if self.written is None:
            yield f"would look at {self.files} file(s)"
            return
        yield f"{self.written} of {self.files} file(s) de-identified into {self.to}"
        yield "De-identification is a best effort: look at the pictures before you share them."


@verb("data deid", "data", long=True)
def deid(args: Deidentify, job: Job) -> Deidentified:
    """De-identify DICOM files (PS3.15 Annex E basic profile)."""
    from functools import partial

    from vesalius.io.pool.pool import DecodePool

    source = args.source
    if not source.exists():
        raise MissingError("no such file or folder", item=str(source))
    if source.is_dir() and args.to.resolve().is_relative_to(source.resolve()):
        raise UsageError("the result may not lie inside the source", item=str(args.to))
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file() and not p.is_symlink())
    files = files[: args.limit]
    if args.dry_run:
        return Deidentified(len(files), None, str(args.to))
    burned_in: BurnedIn = "ocr" if args.ocr else ("keep" if args.allow_burned_in else "refuse")
    work = partial(_one, folder=str(args.to), key=_key(args.key_file, job), burned_in=burned_in)
    written = 0
    with DecodePool(1) as pool:
        names = [str(f) for f in files]
        for index, result in job.progress(pool.map(work, names), len(names), "de-identifying"):
            if isinstance(result, VesaliusError):
                job.refuse(names[index], result)
            else:
                written += 1
    return Deidentified(len(files), written, str(args.to))


def _one(path: str, *, folder: str, key: str, burned_in: BurnedIn) -> str:
    from vesalius.io.dicom.deid import deidentify_file

    return deidentify_file(path, folder, key, burned_in=burned_in).name


def _key(path: Path | None, job: Job) -> str:
    """The secret: read from the file, made and kept there when there is none yet, or made and forgotten."""
    import secrets

    if path is None:
        job.note("no --key-file: a new secret is used once and forgotten, so another run gives other pseudonyms")
        return secrets.token_hex(32)
    if path.is_file():
        return path.read_text("utf-8").strip()
    key = secrets.token_hex(32)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(key + "\n", "utf-8")
    job.note(f"a new secret was written to {path}: keep it, and keep it apart from the images")
    return key
