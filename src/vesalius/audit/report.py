"""What an audit found: findings, values for gates, what was skipped and why; as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vesalius.audit.finding import Finding, plain
from vesalius.audit.gate import GateResult, enforce
from vesalius.metrics.measure import Measure

__all__ = ["AuditReport", "Values"]

#: Name to number.
Values = dict[str, Measure]


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
        values: Name to number with its interval: what gates look at (`reference.MEASURES` says what each means).
        skipped: Section (or part) to why it did not run.
        tested: Sections that could have raised an alarm; with none of them, silence says nothing.
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
    tested: tuple[str, ...]
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
    def verdict(self) -> str:
        """What came out, in a line: alarms and the gate; or that nothing was tested."""
        alarms, tests = len(self.alarms()), sum(f.p is not None for f in self.findings)
        if not self.tested:
            what = "Nothing was tested: no section that can raise an alarm could run"
        elif alarms:
            what = f"{alarms} alarm{'s' if alarms > 1 else ''} in {tests} tests"
        elif tests:
            what = f"No alarm in {tests} tests"
        else:
            what = f"No alarm ({', '.join(self.tested)})"
        if not self.gate:
            return what
        failed = sum(not r.passed for r in self.gate)
        return f"{what} · {'gate met' if self.passed else f'gate not met ({failed} of {len(self.gate)} limits)'}"

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
        data["values"] = {k: m.to_dict() for k, m in self.values.items()}
        out: dict[str, Any] = plain(data)
        return out
