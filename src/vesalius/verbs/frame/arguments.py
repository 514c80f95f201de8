"""Arguments of a verb, declared once as fields of a frozen dataclass, and checked once for every face."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from vesalius.errors import UsageError

#: What a verb takes as cases: a path on every face, or cases that a Python caller has at hand.
#: A model: its name on every face, or a loaded one from Python. A picture, a library: a path, or one at hand.
#: Numbers: as typed (`20,15`), or a sequence of them.
if TYPE_CHECKING:
    from vesalius.cases import Case

    Cases: TypeAlias = Path | Iterable[Case]
    Model: TypeAlias = str | Any
    Picture: TypeAlias = Path | Any
    Numbers: TypeAlias = str | Sequence[float]
else:
    Cases = Path | Iterable
    Model = typing.Union[str, Any]  # noqa: UP007
    Picture = typing.Union[Path, Any]  # noqa: UP007
    Numbers = str | Sequence

A = TypeVar("A")
MISSING: Any = dataclasses.MISSING
_KINDS = (bool, int, float, str, Path)


def arg(
    help: str,
    default: Any = MISSING,
    *,
    positional: bool = False,
    flag: str = "",
    metavar: str = "",
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    separator: str = "",
) -> Any:
    """Declare an argument; its type comes from the field's annotation.

    `bool` is a switch (`--no-NAME` where it is on by default), `tuple[X, ...]` may be given several times, `X | None`
    may be left out, `Literal[...]` names its choices.

    Args:
        help: One line for people, without unit and default; of a switch that is on, what it does (`load the model`).
        default: Value when it is not given; without one it is required.
        positional: On a command line it stands without a flag.
        flag: Its flag where that is not `--` and the field's name.
        metavar: What stands for the value in help.
        unit: Unit of a number, such as `s` or `pixels`.
        low: Least value of a number.
        high: Largest value of a number.
        choices: The values allowed, where they are known only when the program runs.
        separator: Several values in one word, divided by this (`a,b`).
    """
    facts = {k: v for k, v in locals().items() if k != "default"}
    if isinstance(default, list | dict | set):
        raise TypeError("a default must not be changeable")
    return dataclasses.field(default=default, kw_only=True, metadata={"arg": facts})


@dataclass(frozen=True)
class Argument:
    """One argument as the faces see it; see `arg`.

    Args:
        name: The field's name: its name in Python and JSON.
        kind: `bool`, `int`, `float`, `str` or `Path`, of one value.
        many: It takes several values.
        optional: None stands for "not given".
        live: Python callers may also pass an object (cases, a model).
        default: `MISSING` where it is required.
        annotation: The field's type, as Python resolves it.
        written: The same as it stands in the code.
    """

    name: str
    kind: type
    many: bool
    optional: bool
    live: bool
    default: Any
    help: str
    positional: bool
    flag: str
    metavar: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    separator: str
    annotation: Any
    written: str

    @property
    def required(self) -> bool:
        """It has no default."""
        return self.default is MISSING

    @property
    def option(self) -> str:
        """Its flag on a command line."""
        if self.flag:
            return self.flag
        words = self.name.rstrip("_").replace("_", "-")
        if self.kind is bool and self.default is True:
            return f"--no-{words}"
        return f"-{words}" if len(words) == 1 else f"--{words}"

    @property
    def meaning(self) -> str:
        """Its help with unit and default, for people."""
        text = self.help + (f", in {self.unit}" if self.unit else "")
        shown = self.default
        if shown is MISSING or shown is None or isinstance(shown, bool) or shown in ("", ()):
            return text
        if isinstance(shown, tuple):
            shown = (self.separator or " ").join(map(str, shown))
        return f"{text} (default: {f'{shown:g}' if isinstance(shown, float) else shown})"

    @property
    def option_meaning(self) -> str:
        """`meaning`, as its flag on a command line says it: a switch that is on by default is turned off."""
        return f"do not {self.meaning}" if self.kind is bool and self.default is True else self.meaning

    @property
    def spelled(self) -> str:
        """Its name for an error message."""
        return (self.metavar or self.name) if self.positional else self.option

    def convert(self, value: Any) -> Any:
        """The value in the declared type.

        Raises:
            UsageError: It is of another type, out of its limits, or not one of its choices.
        """
        if value is None and self.optional:
            return None
        if not self.many:
            return self._one(value)
        if isinstance(value, str):
            value = [v.strip() for v in value.split(self.separator)] if self.separator else [value]
            value = [v for v in value if v] if self.separator else value
        elif isinstance(value, Path):
            value = [value]
        return tuple(self._one(v) for v in value)

    def _one(self, value: Any) -> Any:
        made = self._typed(value)
        if self.choices and made not in self.choices:
            raise UsageError(
                "no such choice", item=f"{self.spelled} {made}", fix=f"use one of {', '.join(self.choices)}"
            )
        if self.kind in (int, float) and made is not None:
            number = f"{self.spelled} {made:g}"
            if not math.isfinite(made):
                raise UsageError("not a finite number", item=number)
            if self.low is not None and made < self.low:
                raise UsageError("number is too small", item=number, fix=f"give {self.low:g} or more")
            if self.high is not None and made > self.high:
                raise UsageError("number is too large", item=number, fix=f"give {self.high:g} or less")
        return made

    def _typed(self, value: Any) -> Any:
        if self.live and not isinstance(value, str | Path):
            return value
        if self.kind is Path and isinstance(value, str | Path):
            if not str(value):
                raise UsageError("a path is empty", item=self.spelled)
            return Path(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if self.kind in (int, float) and isinstance(value, str):
            try:
                return self.kind(value)
            except ValueError:
                pass
        elif isinstance(value, self.kind) and not (self.kind is int and isinstance(value, bool)):
            return value
        elif self.kind is int and hasattr(value, "__index__") and not isinstance(value, bool):
            return int(value)  # a numpy number
        elif self.kind is float and hasattr(value, "__float__") and not isinstance(value, bool):
            return float(value)
        raise UsageError("not " + _NAMED[self.kind], item=f"{self.spelled} {value}")


_NAMED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Args:
    """What every verb's arguments begin with."""

    out: Path | None = arg("write results and run.json into a folder", None, metavar="DIR")


def arguments(cls: type) -> tuple[Argument, ...]:
    """The arguments that a dataclass declares: positional ones first, then in order, those of its bases last."""
    found: tuple[Argument, ...] = _arguments(cls)
    return found


@functools.cache
def _arguments(cls: Any) -> tuple[Argument, ...]:
    hints = typing.get_type_hints(cls)
    own = set(vars(cls).get("__annotations__", {}))
    fields = [f for f in dataclasses.fields(cls) if "arg" in f.metadata]
    fields.sort(key=lambda f: (not f.metadata["arg"]["positional"], f.name not in own))
    return tuple(_argument(f, hints[f.name]) for f in fields)


def _argument(field: dataclasses.Field[Any], hint: Any) -> Argument:
    facts = dict(field.metadata["arg"])
    annotation, many, optional = hint, False, False
    parts = _union(hint)
    if type(None) in parts:
        optional, parts = True, [p for p in parts if p is not type(None)]
    if typing.get_origin(parts[0]) is tuple:
        many, parts = True, _union(typing.get_args(parts[0])[0])
    if typing.get_origin(parts[0]) is Literal:
        facts["choices"], parts = typing.get_args(parts[0]), [str]
    kind = next((p for p in parts if p in _KINDS), None)
    if kind is None:
        raise TypeError(f"{field.name}: no argument can be a {hint}")
    return Argument(field.name, kind, many, optional, len(parts) > 1, field.default, annotation=annotation,
                    written=str(field.type), **facts)  # fmt: skip


def _union(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]


def make(cls: type[A], values: Mapping[str, Any], say: Callable[[Argument], str] | None = None) -> A:
    """Arguments from plain values, each of the declared type and within its limits.

    Raises:
        UsageError: One is missing, unknown, of another type, or out of its limits.
    """
    known = {a.name: a for a in arguments(cls)}
    for name in values:
        if name not in known:
            raise UsageError("no such argument", item=name, fix=f"use some of {', '.join(known)}")
    out = {}
    for a in known.values():
        if a.name in values:
            out[a.name] = a.convert(values[a.name])
        elif a.required:
            raise UsageError("an argument is missing", item=say(a) if say else a.name, why=a.help)
    return cls(**out)


def to_plain(args: Any) -> dict[str, Any]:
    """Arguments as plain data, for `run.json`; an object that a Python caller passed is named by its type."""
    return {a.name: _plain(getattr(args, a.name)) for a in arguments(type(args))}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return f"<{type(value).__name__}>"
