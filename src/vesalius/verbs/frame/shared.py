"""Arguments that several verbs take: what a job may use, and how cases are named."""

from __future__ import annotations

from dataclasses import dataclass

from vesalius.verbs.frame.arguments import Args, Cases, Model, arg


@dataclass(frozen=True)
class JobArgs:
    """What a face lets a user say of the `Job`; a verb names those it heeds."""

    device: str = arg("auto, cpu, cuda:N or mps", "auto", metavar="DEV")
    workers: int | None = arg(
        "decoding processes (default: cores; 0: none, only for trusted files)", None, metavar="N", low=0
    )
    batch_size: int = arg("images in one pass", 32, metavar="N", low=1)
    seed: int = arg("seed of everything random", 0, metavar="N", low=0)
    online: bool = arg("allow the network for this command (default: never)", False)


@dataclass(frozen=True)
class FromCases(Args):
    """Cases of any kind, read as a case set, a data set in a known layout, or plain files."""

    source: Cases = arg("a file, a folder, a case set or a data set", positional=True)
    layout: str = arg("layout of SOURCE (default: found out; `files` for plain files)", "", metavar="NAME")
    limit: int | None = arg("use the first N cases only", None, metavar="N", low=1)


@dataclass(frozen=True)
class WithModel(Args):
    """A model by name."""

    model: Model = arg("store name, dir:FOLDER or hf:owner/name", "nano", metavar="NAME")
