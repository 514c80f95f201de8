"""What every verb shares: common flags, progress on stderr, results on stdout, `run.json`."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from vesalius import __version__
from vesalius.cli.verbs import Verb
from vesalius.errors import ExitCode, UsageError, VesaliusError

T = TypeVar("T")
#: Version of the object that `--json` prints and `run.json` holds.
OUTPUT_SCHEMA = 1

#: name, argparse settings of the flags that several verbs take.
FLAGS: dict[str, dict[str, Any]] = {
    "--device": {"default": "auto", "metavar": "DEV", "help": "auto, cpu, cuda:N or mps (default: auto)"},
    "--workers": {
        "type": int,
        "default": None,
        "metavar": "N",
        "help": "decoding processes (default: cores; 0: none, only for trusted files)",
    },
    "--batch-size": {"type": int, "default": 32, "metavar": "N", "help": "images in one pass (default: 32)"},
    "--seed": {"type": int, "default": 0, "metavar": "N", "help": "seed of everything random (default: 0)"},
    "--limit": {"type": int, "default": None, "metavar": "N", "help": "use the first N cases only"},
    "--dry-run": {"action": "store_true", "help": "say what would be done, and do nothing"},
    "--resume": {"action": "store_true", "help": "go on where an earlier run stopped"},
    "--model": {
        "default": "nano",
        "metavar": "NAME",
        "help": "store name, dir:FOLDER or hf:owner/name (default: nano)",
    },
    "--online": {"action": "store_true", "help": "allow the network for this command (default: never)"},
}
#: Flags that every verb takes.
ALWAYS: dict[str, dict[str, Any]] = {
    "--json": {"action": "store_true", "help": "print one JSON object on stdout"},
    "--out": {"type": Path, "default": None, "metavar": "DIR", "help": "write results and run.json into a folder"},
    "--quiet": {"action": "store_true", "help": "no progress on stderr"},
    "--offline": {"action": "store_true", "help": "never use the network (this is the default; wins over --online)"},
    "--debug": {"action": "store_true", "help": "show the trace of an error"},
}


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add some of `FLAGS`, and those that every verb takes."""
    group = parser.add_argument_group("common options")
    for name in names:
        group.add_argument(name, **FLAGS[name])
    for name, settings in ALWAYS.items():
        group.add_argument(name, **settings)


@dataclass
class Run:
    """One run of a verb: where its results, complaints and manifest go.

    Args:
        options: The parsed command line.
        argv: The command line as typed.
        verb: The verb's name.
    """

    options: argparse.Namespace
    argv: Sequence[str]
    verb: str
    refused: list[tuple[str, str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    lines: list[str] = field(default_factory=list)
    exit_code: ExitCode = ExitCode.OK

    @property
    def out(self) -> Path | None:
        """The folder asked for with `--out`, made when first asked for."""
        folder: Path | None = getattr(self.options, "out", None)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def say(self, text: str = "") -> None:
        """One line of the human-readable result (not printed with `--json`)."""
        self.lines.append(text)
        if not self.options.json:
            print(text)

    def note(self, text: str) -> None:
        """One line of progress on stderr."""
        if not self.options.quiet:
            print(text, file=sys.stderr)

    def refuse(self, item: str, why: str | BaseException) -> None:
        """Name an input that could not be used; the run goes on and ends with exit code 3."""
        text = str(why).replace(f" [{item}]", "", 1)
        self.refused.append((item, text))
        if not self.options.quiet:
            print(f"refused {item}: {text}", file=sys.stderr)

    def table(self, rows: Sequence[Sequence[object]], header: Sequence[str]) -> None:
        """Rows in aligned columns."""
        text = [[str(c) for c in row] for row in (header, *rows)]
        widths = [max(len(row[i]) for row in text) for i in range(len(header))]
        for row in text:
            self.say("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())

    def progress(self, items: Iterable[T], total: int | None = None, what: str = "") -> Iterator[T]:
        """Pass items on, showing how far it is: a bar on a terminal, a line now and then elsewhere."""
        if self.options.quiet:
            yield from items
            return
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            yield from track(items, description=what, total=total, console=Console(stderr=True))
            return
        last = time.monotonic()
        for n, item in enumerate(items, 1):
            yield item
            if time.monotonic() - last > 10:
                last = time.monotonic()
                print(f"{what}: {n}{f' of {total}' if total else ''}", file=sys.stderr)

    @property
    def online(self) -> bool:
        """Whether the network was asked for."""
        return bool(getattr(self.options, "online", False)) and not self.options.offline


def run_verb(verb: Verb, options: argparse.Namespace, argv: Sequence[str]) -> int:
    """Run a verb and write what the common flags ask for."""
    run = Run(options, argv, verb.name)
    for name in ("batch_size", "limit"):
        value = getattr(options, name, None)
        if value is not None and value < 1:
            raise UsageError("number is too small", item=f"--{name.replace('_', '-')} {value}", fix="give 1 or more")
    started, clock = datetime.now(UTC), time.perf_counter()
    error: BaseException | None = None
    try:
        with _offline(not run.online):
            importlib.import_module(verb.module).run(options, run)
        if run.refused and run.exit_code == ExitCode.OK:
            run.exit_code = ExitCode.BAD_INPUT
    except BaseException as problem:
        error = problem
        run.exit_code = problem.exit_code if isinstance(problem, VesaliusError) else ExitCode.FAULT
        if isinstance(problem, KeyboardInterrupt):
            run.exit_code = ExitCode.INTERRUPTED
        raise
    finally:
        if getattr(options, "out", None) is not None and not getattr(options, "dry_run", False):
            _write_manifest(run, started, time.perf_counter() - clock, error)
    if run.refused and not options.quiet:
        print(f"{len(run.refused)} item(s) refused", file=sys.stderr)
    if options.json:
        print(
            json.dumps(
                {
                    "schema": OUTPUT_SCHEMA,
                    "verb": run.verb,
                    "result": run.result,
                    "refused": [{"item": i, "why": w} for i, w in run.refused],
                    "exit_code": int(run.exit_code),
                },
                ensure_ascii=False,
                default=_plain,
            )
        )
    return int(run.exit_code)


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Tell the libraries underneath that there is no network, for as long as a verb runs."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
    before = {n: os.environ.get(n) for n in names}
    if offline:
        os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for n, value in before.items():
            if value is None:
                os.environ.pop(n, None)
            else:
                os.environ[n] = value


def _write_manifest(run: Run, started: datetime, seconds: float, error: BaseException | None) -> None:
    folder = run.out
    if folder is None:
        return
    options = {k: str(v) if isinstance(v, Path) else v for k, v in vars(run.options).items()}
    manifest = {
        "schema": OUTPUT_SCHEMA,
        "verb": run.verb,
        "arguments": options,
        "argv_sha256": hashlib.sha256("\0".join(run.argv).encode("utf-8", "surrogateescape")).hexdigest(),
        "versions": _versions(),
        "machine": {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": _peak_memory(),
        "seed": getattr(run.options, "seed", None),
        "facts": run.facts,
        "result": run.result,
        "refused": [{"item": i, "why": w} for i, w in run.refused],
        "error": error.to_dict() if isinstance(error, VesaliusError) else (repr(error) if error else None),
        "exit_code": int(run.exit_code),
    }
    part = folder / "run.json.part"
    part.write_text(json.dumps(manifest, indent=1, ensure_ascii=False, default=_plain) + "\n", "utf-8")
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


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
