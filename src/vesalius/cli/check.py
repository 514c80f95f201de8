"""`vesalius check NAME`: train a system's mechanism and its ablation alike, and see whether the claim holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", help="name or number of a system, or `all` that work")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds to run (default: 3)")
    parser.add_argument(
        "--data", choices=("phantom", "real", "both"), default="phantom", help="cases to check on (default: phantom)"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="folder with the open data sets, for real cases")
    parser.add_argument(
        "--store", type=Path, metavar="CSV", help="put the results into this file (a row a claim, data and seed)"
    )
    parser.add_argument(
        "--stale", action="store_true", help="run only what --store lacks, or what other code or inputs made"
    )
    parser.add_argument("--side-by-side", type=int, default=1, metavar="N", help="checks at a time, of one thread each")
    add_flags(parser, "--seed", "--device")


def run(options: argparse.Namespace, run: Run) -> None:
    """Check, store each result as it is found, say."""
    from vesalius.job import Job, Refusal
    from vesalius.systems.frame import rerun
    from vesalius.systems.frame.claims import Claim
    from vesalius.systems.frame.verdict import verdicts

    if options.seeds < 1 or options.side_by_side < 1:
        raise UsageError("number is too small", item="--seeds or --side-by-side", fix="give 1 or more")
    if options.stale and options.store is None:
        raise UsageError("stale against what?", fix="give --store CSV")
    kinds = rerun.KINDS if options.data == "both" else (options.data,)
    if "real" in kinds and options.folder is None:
        raise UsageError("real cases are where?", fix="give --folder DIR, the folder with the open data sets")
    seeds = range(options.seed, options.seed + options.seeds)
    names = () if options.name == "all" else (options.name,)
    wanted = rerun.units(names, kinds=kinds, seeds=seeds, folder=options.folder)
    if not wanted:
        raise UsageError("nothing to check", item=f"{options.name} --data {options.data}", fix="try --data phantom")
    if options.stale:
        todo = rerun.stale(wanted, options.store)
        run.note(f"{len(todo)} of {len(wanted)} checks are stale")
        wanted = todo

    def refused(refusal: Refusal) -> None:
        run.refuse(refusal.item, refusal.why)

    job = Job(device=options.device, on_note=run.note, on_refused=refused)
    claims: list[Claim] = []
    for _, found in rerun.check(
        wanted, folder=options.folder, store=options.store, workers=options.side_by_side, job=job
    ):
        claims += found
    rows = verdicts(claims)
    run.result = [{**vars(v), "holds": v.holds, "outcome": v.outcome} for v in rows]
    run.facts["claims"] = [c.to_dict() for c in claims]
    run.table(
        [
            (v.system, v.data, v.claim, f"{v.ours:.3f}", f"{v.baseline:.3f}",
             f"{v.margin:+.3f} [{v.low:+.3f}, {v.high:+.3f}]", f"{v.goal:+.3f}", f"{v.held}/{v.seeds}", v.n,
             f"{v.seconds:.0f}", v.outcome)
            for v in rows
        ],
        ("system", "data", "claim", "ours", "ablation", "margin", "goal", "seeds", "n", "s", "verdict"),
    )  # fmt: skip
