"""`docs/systems.md`: a row for each published system, from the catalogue and the stored results."""

from __future__ import annotations

from vesalius.systems import catalogue, open_system
from vesalius.systems.frame.recipe import Recipe
from vesalius.systems.frame.results import read_rows, results_file
from vesalius.systems.frame.verdict import Verdict, verdicts

_HEAD = """\
# The published systems

Seventy-seven published systems are to work in vesalius, each as a short recipe over shared parts. {works} of them do.
`vesalius train NAME` trains one on your cases, `vesalius check NAME` holds its claim against its own ablation, made
alike, and `vesalius systems show NAME` says what it is. To add one, see
[how to add a system](how-to/add-a-system.md).

A figure below is a mean over seeds. *Margin* is how much better the mechanism is than its ablation, with a 95 %
interval over patients and seeds; seeds on a real set share test cases, which their number does not narrow. A claim
*holds* when the margin reaches its goal and the interval excludes 0; a goal at or below 0 is "no worse than by this
much", and the interval's lower end must reach it. It *does not hold* when the whole interval lies below the goal, and
is *undecided* when cases or seeds were too few to say. Where a claim ends in a number (`- 0.90`), that number stands in
place of an ablation. *No room* marks an ablation so near the ceiling that the goal could not be reached.

Recipes are developed on seeds from 100 on; 0, 1 and 2 are reported. *Phantom* are simulated cases, whose truth we know;
other names are real sets, on parts that no shipped model was trained on. *s* is the wall time of what a claim needed
beyond those above it. *Earlier* marks figures that an earlier version of the recipe found, with the cases, scores and
intervals it had then (*s* was that of the whole check); why a recipe changed is said below its table. Made by
`vesalius check all --data both --folder DIR --store results/systems.csv --stale --side-by-side 2`.
"""


def page() -> str:
    """The whole page."""
    file = results_file()
    rows = read_rows(file) if file is not None else []
    found = verdicts(r.claim for r in rows)
    earlier = {(r.claim.system, r.claim.claim, r.claim.data) for r in rows if not r.code}
    entries = catalogue()
    out = [_HEAD.format(works=sum(e.works for e in entries)), "## What works, and what was found\n"]
    for entry in entries:
        if not entry.works:
            continue
        mine = [v for v in found if v.system == entry.name]
        system = open_system(entry.name)
        kind = "recipe" if isinstance(system, Recipe) else "protocol, trains nothing"
        out += [
            f"### {entry.number:02d} [{entry.title}]({entry.link}) ({entry.year})\n",
            f"`{entry.name}` · {', '.join(entry.capabilities)} · {kind} · {_summary(mine)}\n",
            f"**Claim.** {system.claim}\n",
        ]
        if mine:
            order = {c.text: i for i, c in enumerate(system.comparisons)}
            out += [
                "| claim | cases | ours | ablation | margin | goal | seeds | n | s | |",
                "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
                *(
                    _row(v, (v.system, v.claim, v.data) in earlier)
                    for v in sorted(mine, key=lambda v: (order.get(v.claim, len(order)), v.data))
                ),
                "",
            ]
        out += [system.causes, ""]
    out += ["## All of them\n", "| no | system | year | serves | here |", "| --- | --- | --- | --- | --- |"]
    for entry in entries:
        state = _summary([v for v in found if v.system == entry.name]) if entry.works else "not yet"
        title = f"[{entry.title}]({entry.link})"
        out.append(f"| {entry.number:02d} | {title} | {entry.year} | {', '.join(entry.capabilities)} | {state} |")
    return "\n".join([*out, ""])


def _summary(mine: list[Verdict]) -> str:
    return f"{sum(v.holds for v in mine)} of {len(mine)} claims hold" if mine else "works, no result stored yet"


def _row(v: Verdict, earlier: bool) -> str:
    margin = f"{v.margin:+.3f} [{v.low:+.3f}, {v.high:+.3f}]"
    state = "holds" if v.holds else f"**{v.outcome}**" + (", no room" if v.no_room else "")
    state += ", *earlier*" if earlier else ""
    return (
        f"| {v.claim} | {v.data} | {v.ours:.3f} | {v.baseline:.3f} | {margin} | {v.goal:+.3f} | {v.held} of {v.seeds} "
        f"| {v.n} | {v.seconds:.0f} | {state} |"
    )
