"""Running a verb, the same for every face: checked arguments, `run.json`, exit code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vesalius import __version__
from vesalius.errors import ExitCode, VesaliusError
from vesalius.job import Job
from vesalius.verbs.frame.arguments import make, to_plain
from vesalius.verbs.frame.results import plain
from vesalius.verbs.frame.shared import JobArgs
from vesalius.verbs.frame.verb import Verb

#: Version of the object that `--json` prints and `run.json` holds.
OUTPUT_SCHEMA = 2


def call(verb: Verb, args: Any, job: Job) -> Any:
    """Run a verb and, with `out`, leave `run.json` there, however it ends.

    Args:
        verb: Which.
        args: Its arguments, made by `make`.
        job: What it may use, and where it reports.

    Returns:
        Its result.

    Raises:
        VesaliusError: What the verb raises.
    """
    make(JobArgs, {a.name: getattr(job, a.name) for a in verb.job_arguments})
    started, clock = datetime.now(UTC), time.perf_counter()
    result: Any = None
    error: BaseException | None = None
    out: Path | None = getattr(args, "out", None)
    dry = getattr(args, "dry_run", False)
    if out is not None and not dry:
        out.mkdir(parents=True, exist_ok=True)
    try:
        result = verb.function(args, job)
    except BaseException as problem:
        error = problem
        raise
    finally:
        if out is not None and not dry:
            _write_manifest(out, verb, args, job, result, error, started, time.perf_counter() - clock)
    return result


def exit_code(result: Any, job: Job) -> ExitCode:
    """How a command ends: as its result says, else 3 where something was refused."""
    own = ExitCode(getattr(result, "exit_code", ExitCode.OK))
    return ExitCode.BAD_INPUT if own == ExitCode.OK and job.refused else own


def exit_code_of_error(error: BaseException) -> ExitCode:
    """How a command ends that raised."""
    if isinstance(error, VesaliusError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.RESOURCES if isinstance(error, MemoryError) else ExitCode.FAULT


def envelope(verb: Verb, result: Any, job: Job) -> dict[str, Any]:
    """The object that `--json` prints and a server answers with."""
    return {
        "schema": OUTPUT_SCHEMA,
        "verb": verb.name,
        "result": plain(result),
        "refused": [r.to_dict() for r in job.refused],
        "exit_code": int(exit_code(result, job)),
    }


def _write_manifest(
    folder: Path,
    verb: Verb,
    args: Any,
    job: Job,
    result: Any,
    error: BaseException | None,
    started: datetime,
    seconds: float,
) -> None:
    asked = to_plain(args) | {a.name: getattr(job, a.name) for a in verb.job_arguments}
    manifest = {
        **envelope(verb, result, job),
        "arguments": asked,
        "arguments_sha256": hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8", "replace")).hexdigest(),
        "versions": _versions(),
        "machine": {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": _peak_memory(),
        "seed": job.seed if "seed" in verb.uses else None,
        "facts": dict(job.facts),
        "error": error.to_dict() if isinstance(error, VesaliusError) else (repr(error) if error else None),
    }
    if error is not None:
        manifest["exit_code"] = int(exit_code_of_error(error))
    part = folder / "run.json.part"
    part.write_text(json.dumps(manifest, indent=1, ensure_ascii=False, default=plain) + "\n", "utf-8")
    part.replace(folder / "run.json")


def _versions() -> dict[str, str]:
    out = {"vesalius": __version__}
    for name in ("numpy", "torch", "pydicom", "pillow", "transformers"):
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
