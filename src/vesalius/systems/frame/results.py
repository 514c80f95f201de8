"""Where what claim checks found is kept: `results/systems.csv`, a row for each claim, set and seed. No torch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from vesalius import __version__
from vesalius.errors import BadInputError
from vesalius.systems.frame.claims import Claim

#: The column names of `results/systems.csv`.
COLUMNS = (
    "system", "claim", "data", "seed", "n", "ours", "baseline", "margin", "low", "high", "goal", "holds", "seconds",
    "version",
)  # fmt: skip


def results_file() -> Path | None:
    """The stored results: beside the source in a checkout, inside the package when installed; None when not there."""
    here = Path(__file__)
    for path in (here.parents[4] / "results" / "systems.csv", here.with_name("results.csv")):
        if path.is_file():
            return path
    return None


def read_results(path: Path) -> list[Claim]:
    """The claims of a results file.

    Raises:
        BadInputError: It is not one.
    """
    out = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                numbers = {k: float(row[k]) for k in ("ours", "baseline", "margin", "low", "high", "goal", "seconds")}
                whole = {k: int(row[k]) for k in ("n", "seed")}
                out.append(Claim(row["system"], row["claim"], data=row["data"], **numbers, **whole))  # type: ignore[arg-type] # the dicts hold exactly its other fields
            except (KeyError, TypeError, ValueError) as error:
                raise BadInputError("cannot read results", item=f"{path}, line {line}", why=str(error)) from error
    return out


def store_results(path: Path, claims: Sequence[Claim]) -> None:
    """Put claims into a results file; a row of the same system, claim, data and seed is replaced. Atomic."""
    kept = read_results(path) if path.is_file() else []
    rows = {(c.system, c.claim, c.data, c.seed): c for c in kept}
    versions = _versions(path)
    for c in claims:
        key = (c.system, c.claim, c.data, c.seed)
        rows[key], versions[key] = c, __version__
    # A claim that this version no longer makes about a system and data that were just checked is dropped with it.
    checked = {(c.system, c.data, c.seed) for c in claims}
    new = {(c.system, c.claim, c.data, c.seed) for c in claims}
    rows = {k: c for k, c in rows.items() if k in new or (k[0], k[2], k[3]) not in checked}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key in sorted(rows):
            c = rows[key]
            figures = (f"{v:.4f}" for v in (c.ours, c.baseline, c.margin, c.low, c.high))
            held = "yes" if c.holds else "no"
            writer.writerow(
                [c.system, c.claim, c.data, c.seed, c.n, *figures, f"{c.goal:g}", held, f"{c.seconds:.0f}",
                 versions.get(key, "")]
            )  # fmt: skip
    part.replace(path)


def _versions(path: Path) -> dict[tuple[str, str, str, int], str]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(r["system"], r["claim"], r["data"], int(r["seed"])): r["version"] for r in csv.DictReader(file)}
