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
