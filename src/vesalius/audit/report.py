"""What an audit found: findings, values for gates, what was skipped and why; as data, as one page, as files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.audit.finding import Finding, plain
from vesalius.audit.gate import GateResult, enforce

__all__ = ["AuditReport", "Values"]

#: Name to (estimate, low, high).
Values = dict[str, tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class AuditReport:
    """Everything an audit found.

    Args:
        target: Audited label.
        model: Name of the model.
        data: Name of the case set.
        n: Cases.
        positives: Positive cases.
        patients: Patients.
        findings: Every statement, tested ones corrected over the whole run.
        values: Name to (estimate, low, high): what gates look at (`reference.MEASURES` says what each means).
        skipped: Section (or part) to why it did not run.
        gate: Results of the gate, empty without one.
        alpha: Family-wise error rate of the alarms.
        level: Level of the intervals.
        seed: Seed.
        seconds: Wall time.
        fingerprint: SHA-256 over target, cases, scores and settings.
        sections: Section to its own plain data, for plots.
    """

    target: str
    model: str
    data: str
    n: int
    positives: int
    patients: int
    findings: tuple[Finding, ...]
    values: Values
    skipped: dict[str, str]
    gate: tuple[GateResult, ...]
    alpha: float
    level: float
    seed: int
    seconds: float
    fingerprint: str
    sections: dict[str, Any] = field(repr=False)

    def alarms(self) -> tuple[Finding, ...]:
        """Findings that pass the error rate."""
        return tuple(f for f in self.findings if f.alarm)

    @property
    def passed(self) -> bool:
        """Every limit of the gate was met (true without a gate)."""
        return all(r.passed for r in self.gate)

    def raise_for_gate(self) -> None:
        """Raise `GateError` (exit code 6) when the gate was not met; write the report first.

        Raises:
            GateError: A limit was not met.
        """
        enforce(self.gate)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, JSON without NaN."""
        data = {k: v for k, v in vars(self).items() if k not in ("findings", "gate", "values")}
        data["findings"] = [f.to_dict() for f in self.findings]
        data["gate"] = [r.to_dict() for r in self.gate]
        data["passed"] = self.passed
        data["values"] = {k: {"estimate": e, "low": lo, "high": hi} for k, (e, lo, hi) in self.values.items()}
        out: dict[str, Any] = plain(data)
        return out

    def html(self) -> str:
        """One page that needs nothing else: no script, no link, plots inside."""
        from vesalius.audit.page import page

        return page(self)

    def write(self, folder: str | Path) -> tuple[Path, Path]:
        """Write `audit.json` and `audit.html` into a folder; returns both paths."""
        where = Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        data, text = where / "audit.json", where / "audit.html"
        data.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        text.write_text(self.html(), "utf-8")
        return data, text
