"""`check`: train a system's mechanism and its ablation alike, and see whether the claim holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.results import table


@dataclass(frozen=True)
class Check(Args):
    """What to check, on what."""

    name: str = arg("name or number of a system, or `all` that work", positional=True)
    seeds: int = arg("how many seeds to run", 3, metavar="N", low=1)
    data: Literal["phantom", "real", "both"] = arg("cases to check on", "phantom")
    folder: Path | None = arg("folder with the open data sets, for real cases", None, metavar="DIR")
    store: Path | None = arg("put the results into this file (a row a claim, data and seed)", None, metavar="CSV")
    stale: bool = arg("run only what --store lacks, or what other code or inputs made", False)
    side_by_side: int = arg("checks at a time, of one thread each", 1, metavar="N", low=1)


@dataclass(frozen=True)
class Checked(Result):
    """What each claim came to, over its seeds."""

    verdicts: tuple[Mapping[str, Any], ...]

    def lines(self) -> Iterator[str]:
        """A table."""
        rows = [
            (v["system"], v["data"], v["claim"], f"{v['ours']:.3f}", f"{v['baseline']:.3f}",
             f"{v['margin']:+.3f} [{v['low']:+.3f}, {v['high']:+.3f}]", f"{v['goal']:+.3f}",
             f"{v['held']}/{v['seeds']}", v["n"], f"{v['seconds']:.0f}", v["outcome"])
            for v in self.verdicts
        ]  # fmt: skip
        header = ("system", "data", "claim", "ours", "ablation", "margin", "goal", "seeds", "n", "s", "verdict")
        yield from table(rows, header)


@verb("check", "examine", uses=("seed", "device"), long=True)
def check(args: Check, job: Job) -> Checked:
    """Hold a published system's claim against its own ablation."""
    from vesalius.systems.frame import rerun
    from vesalius.systems.frame.verdict import verdicts

    if args.stale and args.store is None:
        raise UsageError("stale against what?", fix="give --store CSV")
    kinds = rerun.KINDS if args.data == "both" else (args.data,)
    if "real" in kinds and args.folder is None:
        raise UsageError("real cases are where?", fix="give --folder DIR, the folder with the open data sets")
    seeds = range(job.seed, job.seed + args.seeds)
    names = () if args.name == "all" else (args.name,)
    wanted = rerun.units(names, kinds=kinds, seeds=seeds, folder=args.folder)
    if not wanted:
        raise UsageError("nothing to check", item=f"{args.name} --data {args.data}", fix="try --data phantom")
    if args.stale:
        todo = rerun.stale(wanted, args.store)
        job.note(f"{len(todo)} of {len(wanted)} checks are stale")
        wanted = todo
    done = rerun.check(wanted, folder=args.folder, store=args.store, workers=args.side_by_side, job=job)
    claims = [claim for _, found in done for claim in found]
    job.facts["claims"] = [c.to_dict() for c in claims]
    return Checked(tuple({**vars(v), "holds": v.holds, "outcome": v.outcome} for v in verdicts(claims)))
