"""`vesalius systems [list|show NAME]`: the published systems and what their last check found."""

from __future__ import annotations

import argparse

from vesalius.cli.common import Run, add_flags


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "action", nargs="?", choices=("list", "show"), default="list", help="what to do (default: list)"
    )
    parser.add_argument("name", nargs="?", help="name or number of a system, for show")
    parser.add_argument("--capability", help="only systems that serve this verb, such as ground")
    parser.add_argument("--working", action="store_true", help="only systems that work here")
    add_flags(parser)


def run(options: argparse.Namespace, run: Run) -> None:
    """List or show."""
    from vesalius.errors import UsageError
    from vesalius.systems.frame.catalogue import catalogue, find
    from vesalius.systems.frame.results import read_results, results_file
    from vesalius.systems.frame.verdict import verdicts

    file = results_file()
    found = verdicts(read_results(file)) if file is not None else []
    if options.action == "show":
        if options.name is None:
            raise UsageError("show which system?", fix="see `vesalius systems list`")
        entry = find(options.name)
        mine = [v for v in found if v.system == entry.name]
        run.result = {**entry.to_dict(), "results": [vars(v) | {"holds": v.holds, "outcome": v.outcome} for v in mine]}
        run.say(f"{entry.number:02d} {entry.title} ({entry.year})")
        run.say(f"  {entry.job}")
        run.say(f"  name {entry.name} · serves {', '.join(entry.capabilities)} · {entry.link}")
        if not entry.works:
            run.say("  does not work here yet")
            return
        from vesalius.systems.frame.catalogue import open_system

        run.say(f"  claim: {open_system(entry.name).claim}")
        for v in mine:
            run.say(
                f"  {v.outcome} on {v.data} ({v.seeds} seeds, n = {v.n}): {v.claim}: "
                f"{v.ours:.3f} against {v.baseline:.3f}, margin {v.margin:+.3f} [{v.low:+.3f}, {v.high:+.3f}], "
                f"goal {v.goal:+.3f}"
            )
        return
    rows, shown = [], []
    for entry in catalogue():
        if options.working and not entry.works:
            continue
        if options.capability and options.capability not in entry.capabilities:
            continue
        mine = [v for v in found if v.system == entry.name]
        held = f"{sum(v.holds for v in mine)} of {len(mine)} claims hold" if mine else "no result stored"
        rows.append(
            (f"{entry.number:02d}", entry.name, entry.year, ", ".join(entry.capabilities),
             held if entry.works else "not yet")
        )  # fmt: skip
        shown.append({**entry.to_dict(), "claims": len(mine), "hold": sum(v.holds for v in mine)})
    run.result = shown
    run.table(rows, ("no", "name", "year", "serves", "here"))
