"""Where what claim checks found is kept: `results/systems.csv`, a row for each claim, set and seed. No torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vesalius import __version__
from vesalius.errors import BadInputError
from vesalius.systems.frame.claims import Claim

#: The column names of `results/systems.csv`.
COLUMNS = (
    "system", "claim", "data", "seed", "n", "ours", "baseline", "margin", "low", "high", "goal", "holds", "seconds",
    "version", "code", "inputs",
)  # fmt: skip
FIGURES = ("ours", "baseline", "margin", "low", "high")


@dataclass(frozen=True)
class Row:
    """A stored claim and what it hangs on.

    Args:
        claim: The claim.
        version: Version of vesalius that found it.
        code: Hash of the code that it hangs on (`frame.stamp`); "" where nobody noted it.
        inputs: Hash of the tower and the set's files.
    """

    claim: Claim
    version: str = __version__
    code: str = ""
    inputs: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a row is replaced by: system, claim, data and seed."""
        c = self.claim
        return c.system, c.claim, c.data, c.seed


def results_file() -> Path | None:
    """The stored results: beside the source in a checkout, inside the package when installed; None when not there."""
    here = Path(__file__)
    for path in (here.parents[4] / "results" / "systems.csv", here.with_name("results.csv")):
        if path.is_file():
            return path
    return None


def read_rows(path: Path) -> list[Row]:
    """The rows of a results file.

    Raises:
        BadInputError: It is not one.
    """
    out = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                numbers = {k: float(row[k]) for k in (*FIGURES, "goal", "seconds")}
                whole = {k: int(row[k]) for k in ("n", "seed")}
                claim = Claim(row["system"], row["claim"], data=row["data"], **numbers, **whole)  # type: ignore[arg-type] # the dicts hold exactly its other fields
                out.append(Row(claim, row["version"], row.get("code") or "", row.get("inputs") or ""))
            except (KeyError, TypeError, ValueError) as error:
                raise BadInputError("cannot read results", item=f"{path}, line {line}", why=str(error)) from error
    return out


def read_results(path: Path) -> list[Claim]:
    """The claims of a results file."""
    return [row.claim for row in read_rows(path)]


def store_results(path: Path, claims: Sequence[Claim], *, code: str = "", inputs: str = "") -> None:
    """Put the claims of one or more checks into a results file, atomically.

    A row of the same system, claim, data and seed is replaced. A claim that is no longer made about a system, data and
    seed that were just checked goes.

    Args:
        path: The file; made when it is not there.
        claims: What was found.
        code: Hash of the code that found it.
        inputs: Hash of what is no code.
    """
    made = [Row(rounded(c), __version__, code, inputs) for c in claims]
    checked = {(c.system, c.data, c.seed) for c in claims}
    kept = (
        [r for r in read_rows(path) if (r.claim.system, r.claim.data, r.claim.seed) not in checked]
        if path.is_file()
        else []
    )
    write_rows(path, [*kept, *made])


def rounded(claim: Claim) -> Claim:
    """A claim with its figures as they are stored."""
    return replace(claim, **{k: round(getattr(claim, k), 4) for k in FIGURES}, seconds=round(claim.seconds, 1))


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a whole results file, atomically, in the order of its keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in sorted(rows, key=lambda r: r.key):
            c = row.claim
            figures = (f"{getattr(c, k):.4f}" for k in FIGURES)
            held = "yes" if c.holds else "no"
            writer.writerow(
                [c.system, c.claim, c.data, c.seed, c.n, *figures, f"{c.goal:g}", held, f"{c.seconds:.1f}",
                 row.version, row.code, row.inputs]
            )  # fmt: skip
    part.replace(path)
