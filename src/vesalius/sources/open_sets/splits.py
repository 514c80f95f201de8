"""Which part of the development sets each case belongs to, by patient and once for all.

Four parts, so that no figure stands on cases that anything was trained or chosen on: `nano` is what the shipped model
is trained on, `validation` is what its recipe is chosen on, `system` is what the published systems are trained on (nano
never saw it), `test` is read once at the end. `data/parts.json` holds the answer for every case; `deal` made it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Literal, cast, get_args

from vesalius.cases import Case
from vesalius.errors import UsageError

Part = Literal["nano", "validation", "system", "test"]
#: Part to the share of each set's cases that is wanted; whole patients and classes decide what is got.
SHARES: Mapping[Part, float] = {"nano": 0.55, "validation": 0.12, "system": 0.15, "test": 0.18}
PARTS: tuple[Part, ...] = get_args(Part)


def part_of(case: Case | str) -> Part:
    """The part of one case.

    Args:
        case: The case, or its id (`busi/benign_1`).

    Raises:
        UsageError: It is not a case of the development sets.
    """
    id = case if isinstance(case, str) else case.id
    name, _, rest = id.partition("/")
    found = _places(name).get(rest)
    if found is None:
        raise UsageError(
            "no part is known for this case",
            item=id,
            why="it is not in the development sets",
            fix="split other cases by patient with `vesalius.cases.split`",
        )
    return found


def in_part(cases: Iterable[Case], *parts: Part) -> list[Case]:
    """Those of the cases that belong to one of the parts, in their order.

    Raises:
        UsageError: A part is not known, or a case is not of the development sets.
    """
    if strange := set(parts) - set(PARTS):
        raise UsageError("no such part", item=sorted(strange)[0], fix=f"use one of {', '.join(PARTS)}")
    return [c for c in cases if part_of(c) in parts]


def counts() -> dict[str, dict[Part, int]]:
    """Set name to the number of cases of each part."""
    return {name: {p: len(own.get(p, ())) for p in PARTS} for name, own in _table().items()}


def reference() -> str:
    """The table of all sets and their parts in Markdown, for the generated reference."""
    lines = ["| set | nano | validation | system | test |", "|---|---|---|---|---|"]
    lines += [f"| `{name}` | {' | '.join(str(own[p]) for p in PARTS)} |" for name, own in counts().items()]
    total = {p: sum(own[p] for own in counts().values()) for p in PARTS}
    return "\n".join([*lines, f"| all | {' | '.join(str(total[p]) for p in PARTS)} |"]) + "\n"


@functools.cache
def _table() -> dict[str, dict[Part, list[str]]]:
    text = resources.files(__package__).joinpath("data", "parts.json").read_text("utf-8")
    return cast("dict[str, dict[Part, list[str]]]", json.loads(text))


@functools.cache
def _places(name: str) -> dict[str, Part]:
    return {case: part for part, own in _table().get(name, {}).items() for case in own}
