"""What a verb hands back: a frozen dataclass that has a plain form, lines for people, and an exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vesalius.errors import ExitCode


class Answer(Protocol):
    """What a verb may return: a `Result`, or a record of a lower room. `str` of it is what people read."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""


def hidden(**settings: Any) -> Any:
    """A field that only Python callers see: an object, or something that `--out` has written already."""
    return dataclasses.field(repr=False, compare=False, metadata={"hidden": True}, **settings)


@dataclass(frozen=True)
class Result:
    """Base of what verbs return.

    The plain form holds every field that is not `hidden`; a field whose default is None is left out while it is None:
    what was not asked for is not there.
    """

    def lines(self) -> Iterable[str]:
        """What people read, line by line."""
        return ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    @property
    def exit_code(self) -> ExitCode:
        """How a command that ends with this result leaves, where nothing was refused."""
        return ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            f.name.rstrip("_"): plain(value)
            for f in dataclasses.fields(self)
            if not f.metadata.get("hidden") and not ((value := getattr(self, f.name)) is None and f.default is None)
        }


def plain(value: Any) -> Any:
    """Anything that a result holds, as JSON can write it.

    Raises:
        TypeError: It has no plain form.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [plain(v) for v in value]
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> Iterator[str]:
    """Rows in aligned columns."""
    text = [[str(c) for c in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    for row in text:
        yield "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()


def named(case: Any) -> str:
    """A case for people: the file it comes from and its id."""
    return f"{case.file} [{case.id}]" if case.file else str(case.id)


@dataclass(frozen=True)
class Figures(Result):
    """What answers are worth where the truth is known, on which cases, and whether the model had seen those.

    Args:
        n: Cases measured.
        patients: Their patients.
        counts: Cases of each class.
        measures: The figures, with intervals.
        left_out: Value that is none of the classes ("" where it is not known) to how many cases have it.
        trained_on: How many of the cases, or of their patients' cases, the model or head was trained on.
    """

    n: int
    patients: int
    counts: Mapping[str, int]
    measures: tuple[Mapping[str, Any], ...]
    left_out: Mapping[str, int]
    trained_on: int
    text: tuple[str, ...] = hidden(default=())

    @classmethod
    def of(cls, evaluation: Any, left_out: Mapping[str, int], trained_on: int) -> Figures:
        """From a `metrics.evaluation.Evaluation`."""
        facts = evaluation.to_dict()
        text = tuple(str(m) for m in evaluation.measures)
        return cls(
            **{**facts, "measures": tuple(facts["measures"])}, left_out=left_out, trained_on=trained_on, text=text
        )

    def lines(self) -> Iterator[str]:
        """What was measured on what, and what was not."""
        yield f"against the truth, {self.n} cases of {self.patients} patients:"
        yield from (f"  {line}" for line in self.text)
        yield from (f"  {line}" for line in self.warnings())

    def warnings(self) -> Iterator[str]:
        """What a reader of the figures must know."""
        if self.trained_on:
            yield (
                f"TRAINED ON: the model or head learned from {self.trained_on} of these cases (or from their "
                "patients): the figures say little of new patients"
            )
        other = {k: n for k, n in self.left_out.items() if k}
        if other:
            some = ", ".join(f"{k} {n}" for k, n in list(other.items())[:6])
            yield f"left out: {sum(other.values())} case(s) whose value is none of the classes ({some})"
        if self.left_out.get(""):
            yield f"left out: {self.left_out['']} case(s) whose value is not known"
