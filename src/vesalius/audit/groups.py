"""Who belongs to which group: attribute values, bands of a number, and intersections, as boolean columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.errors import UsageError

__all__ = ["DEFAULT_BINS", "Group", "bands", "groups_of"]

Bools = npt.NDArray[np.bool_]

#: Cut points for attributes that are numbers, by name; others are cut at their terciles.
DEFAULT_BINS: Mapping[str, tuple[float, ...]] = {"age": (40.0, 60.0, 75.0)}


@dataclass(frozen=True, eq=False)
class Group:
    """A set of cases that share attribute values.

    Args:
        name: `sex=F`, or `age=[60, 75) & sex=F` for an intersection.
        values: Attribute to value (or band).
        member: `(n,)`: who is in it.
        known: `(n,)`: whose attributes are known; the rest of the group is among these.
    """

    name: str
    values: Mapping[str, str]
    member: Bools
    known: Bools

    @property
    def rest(self) -> Bools:
        """Cases with known attributes outside the group."""
        return np.asarray(self.known & ~self.member)


def groups_of(
    attributes: Mapping[str, Sequence[Any]],
    *,
    bins: Mapping[str, Sequence[float]] | None = None,
    depth: int = 1,
    most_values: int = 12,
) -> tuple[Group, ...]:
    """All groups of the attributes, and of pairs (triples ...) of them up to `depth`.

    A missing value (None, NaN or "") belongs to no group. An attribute of two values gives one group each, so that the
    two tests against "the rest" are one test: only the first (in sorted order) is kept at depth 1 by the caller.

    Args:
        attributes: Name to one value for each case.
        bins: Cut points of numeric attributes; `DEFAULT_BINS`, else terciles where a number has many values.
        depth: 1 for single attributes, 2 for intersections of two as well, ...
        most_values: A text attribute with more values than this is refused (it is a name, not a group).

    Raises:
        UsageError: Unequal lengths, or an attribute with too many values.
    """
    lengths = {len(v) for v in attributes.values()}
    if len(lengths) > 1:
        raise UsageError("attributes differ in length", item=str(sorted(lengths)))
    columns: dict[str, npt.NDArray[np.object_]] = {}
    for name, raw in attributes.items():
        cut = (bins or {}).get(name, DEFAULT_BINS.get(name))
        column = bands(raw, cut)
        distinct = {v for v in column if v is not None}
        if len(distinct) > most_values:
            raise UsageError(
                "too many values for a group attribute",
                item=name,
                why=f"{len(distinct)} values",
                fix="give cut points in bins, or leave it out",
            )
        if len(distinct) > 1:
            columns[name] = column
    out: list[Group] = []
    for size in range(1, depth + 1):
        for names in itertools.combinations(sorted(columns), size):
            known = np.all([[v is not None for v in columns[n]] for n in names], axis=0)
            levels = [sorted({v for v in columns[n] if v is not None}, key=_order) for n in names]
            for values in itertools.product(*levels):
                member = np.all([columns[n] == v for n, v in zip(names, values, strict=True)], axis=0)
                if member.any():
                    label = " & ".join(_name(n, v) for n, v in zip(names, values, strict=True))
                    out.append(Group(label, dict(zip(names, values, strict=True)), member, known))
    return tuple(out)


def bands(values: Sequence[Any], cuts: Sequence[float] | None = None) -> npt.NDArray[np.object_]:
    """Values as group labels: text as it is, numbers as half-open bands, missing as None.

    Numbers with at most five distinct values and no cut points stay themselves; others are cut at their terciles.
    """
    out = np.empty(len(values), dtype=object)
    present = [v for v in values if not _missing(v)]
    numeric = bool(present) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in present)
    if not numeric or (cuts is None and len(set(present)) <= 5):
        for i, v in enumerate(values):
            out[i] = None if _missing(v) else str(v)
        return out
    if cuts is None:
        cuts = sorted({float(v) for v in np.quantile(np.asarray(present, dtype=float), [1 / 3, 2 / 3])})
    edges = [float(c) for c in cuts]
    names = [f"<{edges[0]:g}", *(f"[{a:g}, {b:g})" for a, b in itertools.pairwise(edges)), f">={edges[-1]:g}"]
    for i, v in enumerate(values):
        out[i] = None if _missing(v) else names[int(np.searchsorted(edges, float(v), side="right"))]
    return out


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and value != value)


def _name(attribute: str, value: str) -> str:
    return f"{attribute}{value}" if value[:1] in "<>" else f"{attribute}={value}"


def _order(label: str) -> tuple[int, str]:
    return (0 if label.startswith("<") else 2 if label.startswith(">") else 1, label)
