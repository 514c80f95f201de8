"""`vesalius check NAME`: train a system's mechanism and its ablation alike, and see whether the claim holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import UsageError, VesaliusError


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
    add_flags(parser, "--seed", "--device")


def run(options: argparse.Namespace, run: Run) -> None:
    """Check, store after every seed, say."""
    import dataclasses
    import time

    from vesalius.systems.frame.catalogue import MODULES, catalogue, open_system
    from vesalius.systems.frame.claims import Claim, verdicts
    from vesalius.systems.frame.recipe import Job
    from vesalius.systems.frame.results import store_results

    if options.seeds < 1:
        raise UsageError("number is too small", item=f"--seeds {options.seeds}", fix="give 1 or more")
    names = [e.name for e in catalogue() if e.name in MODULES] if options.name == "all" else [options.name]
    kinds = ("phantom", "real") if options.data == "both" else (options.data,)
    if "real" in kinds and options.folder is None:
        raise UsageError("real cases are where?", fix="give --folder DIR, the folder with the open data sets")
    claims: list[Claim] = []
    for name in names:
        system = open_system(name)
        for kind in kinds:
            if kind not in system.data:
                run.note(f"{system.name}: its task has no {kind} cases here")
                continue
            for seed in range(options.seed, options.seed + options.seeds):
                started = time.perf_counter()
                job = Job(seed=seed, device=_device(options.device), say=run.note)
                try:
                    found = system.check(seed, kind, folder=options.folder, job=job)
                except VesaliusError as error:
                    if len(names) == 1:
                        raise
                    run.refuse(f"{system.name}, {kind}, seed {seed}", error)
                    continue
                seconds = time.perf_counter() - started
                found = tuple(dataclasses.replace(c, seconds=seconds) for c in found)
                for claim in found:
                    run.note(str(claim))
                claims += found
                if options.store is not None:
                    store_results(options.store, found)
    if not claims:
        raise UsageError("nothing was checked", item=f"{options.name} --data {options.data}", fix="try --data phantom")
    rows = verdicts(claims)
    run.result = [{**vars(v), "holds": v.holds} for v in rows]
    run.facts["claims"] = [c.to_dict() for c in claims]
    run.table(
        [
            (v.system, v.data, v.claim, f"{v.ours:.3f}", f"{v.baseline:.3f}",
             f"{v.margin:+.3f} [{v.low:+.3f}, {v.high:+.3f}]", f"{v.goal:+.3f}", f"{v.held}/{v.seeds}", v.n,
             f"{v.seconds:.0f}", "holds" if v.holds else "does not hold")
            for v in rows
        ],
        ("system", "data", "claim", "ours", "ablation", "margin", "goal", "seeds", "n", "s", "verdict"),
    )  # fmt: skip


def _device(asked: str) -> str:
    from vesalius.models import pick_device

    return pick_device(asked)
