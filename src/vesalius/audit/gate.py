"""Gates: limits on an audit's values, from TOML; a value that was not measured does not pass.

[performance.auroc]
at_least = 0.80
use = "low"          # the lower end of the interval; "estimate" (default) or "high" otherwise

[alarms.subgroups]
at_most = 0
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.errors import GateError, MissingError, UsageError
from vesalius.metrics.measure import Measure

__all__ = ["GateResult", "Limit", "check_gate", "enforce", "read_gate"]

_KEYS = {"at_least", "at_most", "use"}
_USES = ("estimate", "low", "high")


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Args:
        name: Value's name, dotted (`performance.auroc`).
        at_least: Smallest value that passes.
        at_most: Largest value that passes.
        use: `estimate`, or the `low` or `high` end of the interval.
    """

    name: str
    at_least: float | None = None
    at_most: float | None = None
    use: str = "estimate"


@dataclass(frozen=True, slots=True)
class GateResult:
    """How one limit fared: `value` is None when it was not measured."""

    limit: Limit
    value: float | None
    passed: bool
    why: str

    def __str__(self) -> str:
        """One line."""
        use = "" if self.limit.use == "estimate" else f" ({self.limit.use} end)"
        return f"{self.limit.name}{use} {self.why}: {'met' if self.passed else 'NOT MET'}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        limit = {n: getattr(self.limit, n) for n in ("name", "at_least", "at_most", "use")}
        return {**limit, "value": self.value, "passed": self.passed, "why": self.why}


def read_gate(gate: Mapping[str, Any] | str | Path) -> tuple[Limit, ...]:
    """Limits from a TOML file or from its content as a mapping.

    Raises:
        MissingError: The file is not there.
        UsageError: It is not TOML, or a limit makes no sense.
    """
    if not isinstance(gate, Mapping):
        path = Path(gate)
        try:
            gate = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise MissingError("there is no such gate file", item=str(path)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError("cannot read gate", item=str(path), why=str(error)) from error
    limits: list[Limit] = []
    _collect(gate, "", limits)
    if not limits:
        raise UsageError("a gate without a limit", fix="give at_least or at_most for a value")
    return tuple(limits)


def check_gate(limits: tuple[Limit, ...], values: Mapping[str, Measure]) -> tuple[GateResult, ...]:
    """Hold limits against values by name; one that was not measured (or is NaN, or has no such end) does not pass."""
    out = []
    for limit in limits:
        found = values.get(limit.name)
        value = math.nan if found is None else found.value if limit.use == "estimate" else getattr(found, limit.use)
        if math.isnan(value):
            unmeasured = found is None or math.isnan(found.value)
            why = "was not measured" if unmeasured else f"has no {limit.use} end"
            out.append(GateResult(limit, None, False, why))
            continue
        low = limit.at_least is None or value >= limit.at_least
        high = limit.at_most is None or value <= limit.at_most
        bound = f"at least {limit.at_least:g}" if not low else f"at most {limit.at_most:g}" if not high else ""
        why = f"is {value:.4g}, must be {bound}" if bound else f"is {value:.4g}"
        out.append(GateResult(limit, float(value), low and high, why))
    return tuple(out)


def enforce(results: tuple[GateResult, ...]) -> None:
    """Raise when a limit was not met.

    Raises:
        GateError: Names every limit that failed.
    """
    failed = [r for r in results if not r.passed]
    if failed:
        raise GateError(
            "the audit's gate was not met",
            item=", ".join(r.limit.name for r in failed),
            why="; ".join(f"{r.limit.name} ({r.limit.use}) {r.why}" for r in failed),
            fix="see the report for what lies behind these values",
        )


def _collect(table: Mapping[str, Any], prefix: str, out: list[Limit]) -> None:
    own = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    if own:
        unknown = set(own) - _KEYS
        numbers = {k: own[k] for k in ("at_least", "at_most") if k in own}
        if unknown or not prefix or not numbers:
            why = f"unknown key {sorted(unknown)[0]}" if unknown else "at_least or at_most is needed"
            raise UsageError("cannot read gate", item=prefix or "top level", why=why)
        for k, v in numbers.items():
            if isinstance(v, bool) or not isinstance(v, int | float):
                raise UsageError("cannot read gate", item=f"{prefix}.{k}", why=f"{v!r} is not a number")
        use = own.get("use", "estimate")
        if use not in _USES:
            raise UsageError("cannot read gate", item=f"{prefix}.use", fix=f"use one of {', '.join(_USES)}")
        out.append(Limit(prefix, own.get("at_least"), own.get("at_most"), use))
    for key, value in table.items():
        if isinstance(value, Mapping):
            _collect(value, f"{prefix}.{key}" if prefix else key, out)
