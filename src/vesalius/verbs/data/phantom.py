"""`data phantom`: cases whose whole truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.job import Job
from vesalius.verbs.data.described import Described, described
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.results import hidden


@dataclass(frozen=True)
class DrawPhantom(Args):
    """How many, of what kind."""

    to: Path = arg("folder of the new case set", metavar="DIR")
    n: int = arg("how many cases", flag="--n", metavar="N", low=1)
    config: Path | None = arg("JSON or TOML with the dials; see docs/explanation/phantom.md", None, metavar="FILE")
    studies: tuple[str, ...] = arg("kinds of study (default: the configuration's)", (), separator=",", metavar="A,B")
    dry_run: bool = arg("show the dials, and draw nothing", False)


@dataclass(frozen=True)
class Drawn(Result):
    """What was drawn by which dials."""

    config: Mapping[str, Any]
    drawn: Described | None = None
    toml: str = hidden(default="")

    def lines(self) -> Iterable[str]:
        """The counts, or the dials."""
        return [self.toml] if self.drawn is None else self.drawn.lines()


@verb("data phantom", "data", uses=("seed", "workers"), long=True)
def phantom(args: DrawPhantom, job: Job) -> Drawn:
    """Draw cases whose whole truth is known."""
    from vesalius.cases import CaseSet
    from vesalius.io.pool.pool import default_workers
    from vesalius.sources.phantom import Phantom, PhantomConfig

    config = PhantomConfig.read(args.config) if args.config else PhantomConfig()
    config = config.replace(seed=job.seed)
    if args.studies:
        config = config.replace(studies=dict.fromkeys(args.studies, 1.0))
    job.facts["config"] = config.to_dict()
    if args.dry_run:
        return Drawn(config.to_dict(), toml=config.to_toml())
    workers = default_workers() if job.workers is None else job.workers
    cases = Phantom(config).cases(args.n, workers=workers)
    drawn = CaseSet(lambda: job.progress(cases, args.n, "drawing")).write(args.to)
    text = f"{args.n} phantom cases written to {args.to}"
    return Drawn(config.to_dict(), described(drawn.stats(), args.to, text))
