"""What a case's label or attribute is as a target: the value to be learnt or audited, its class, the kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from vesalius.cases.record import Case

__all__ = ["Task", "Value", "class_name", "class_names", "guess_task", "target_value"]

Task = Literal["classification", "regression"]
Value: TypeAlias = str | int | float


def target_value(case: Case, target: str) -> Value | None:
    """What is learnt or audited: a label, else an attribute, else a fact of the first image; None when not known.

    A label's -1 (uncertain) counts as not known.
    """
    names = {name.lower(): name for name in case.labels}
    if target.lower() in names:
        label = case.labels[names[target.lower()]]
        return None if label.value == -1 and not label.unit else label.value
    attribute = case.attributes.get(target)
    if attribute is not None:
        return attribute
    if target in ("modality", "view", "body_part") and case.images:
        return str(getattr(case.images[0], target)) or None
    return None


def guess_task(values: Sequence[Value]) -> Task:
    """Regression for numbers with more than ten different values, else classification."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return "regression" if numbers and len(set(values)) > 10 else "classification"


def class_names(values: Sequence[Value]) -> tuple[str, ...]:
    """Distinct values as text: numbers in their order, else alphabetical (so absent 0 comes before present 1)."""
    distinct = set(values)
    if all(isinstance(v, int | float) for v in distinct):
        return tuple(class_name(v) for v in sorted(distinct, key=float))
    return tuple(sorted({class_name(v) for v in distinct}))


def class_name(value: Value) -> str:
    """A class as text; 1 and 1.0 are one class, for JSON does not tell them apart."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
