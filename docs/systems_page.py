"""`docs/systems.md`: a row for each published system, from the catalogue and the stored results."""

from __future__ import annotations

from vesalius.systems import catalogue, open_system
from vesalius.systems.frame.claims import Verdict, verdicts
from vesalius.systems.frame.results import read_results, results_file

_HEAD = """\
# The published systems

Seventy-seven published systems are to work in vesalius, each as a short recipe over shared parts. {works} of them do.
`vesalius train NAME` trains one on your cases, `vesalius check NAME` holds its claim against its own ablation, trained
alike, and `vesalius systems show NAME` says what it is. To add one, see
[how to add a system](how-to/add-a-system.md).

A figure below is a mean over seeds, each with its own cases, split and training. *Margin* is how much better the
mechanism is than its ablation, with a 95 % interval over cases and seeds; seeds on a real set share test cases, which
their number does not narrow. A claim *holds* when the margin reaches its goal and the interval excludes 0; a goal at or
below 0 is "no worse than by this much", and the interval's lower end must reach it. Recipes were
developed on other seeds, with two exceptions that were changed after reported seeds had been seen: MedImageInsight's
votes and the films of Mask of truth; their modules say how. Where a claim ends in a number (`- 0.90`), that number
stands in place of an ablation; where every case was right, MedRPG's intervals are Wilson's over patients, and an
interval of no width (MedMNIST-C's) means no certainty.
*Phantom* are simulated cases, whose truth we know; other names are real sets; *s* is the wall time of a seed on one
core, beside another job on the second. Made by
`vesalius check all --data both --folder DIR --store results/systems.csv`.
"""


def page() -> str:
    """The whole page."""
    file = results_file()
    found = verdicts(read_results(file)) if file is not None else []
    entries = catalogue()
    out = [_HEAD.format(works=sum(e.works for e in entries)), "## What works, and what was found\n"]
    for entry in entries:
        if not entry.works:
            continue
        mine = [v for v in found if v.system == entry.name]
        held = f"{sum(v.holds for v in mine)} of {len(mine)} claims hold" if mine else "no result stored yet"
        out += [
            f"### {entry.number:02d} [{entry.title}]({entry.link}) ({entry.year})\n",
            f"`{entry.name}` · {', '.join(entry.capabilities)} · {held}\n",
            f"{open_system(entry.name).claim}\n",
        ]
        if mine:
            out += [
                "| claim | cases | ours | ablation | margin | goal | seeds | n | s | |",
                "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
                *map(_row, mine),
                "",
            ]
    out += ["## All of them\n", "| no | system | year | serves | here |", "| --- | --- | --- | --- | --- |"]
    for entry in entries:
        mine = [v for v in found if v.system == entry.name]
        held = f"{sum(v.holds for v in mine)} of {len(mine)} claims hold" if mine else "works, no result stored yet"
        state = held if entry.works else "not yet"
        title = f"[{entry.title}]({entry.link})"
        out.append(f"| {entry.number:02d} | {title} | {entry.year} | {', '.join(entry.capabilities)} | {state} |")
    return "\n".join([*out, ""])


def _row(v: Verdict) -> str:
    margin = f"{v.margin:+.3f} [{v.low:+.3f}, {v.high:+.3f}]"
    state = "holds" if v.holds else "**does not hold**"
    return (
        f"| {v.claim} | {v.data} | {v.ours:.3f} | {v.baseline:.3f} | {margin} | {v.goal:+.3f} | {v.held} of {v.seeds} "
        f"| {v.n} | {v.seconds:.0f} | {state} |"
    )
