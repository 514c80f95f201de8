"""The decorator that makes a function a verb."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from vesalius.errors import ExitCode
from vesalius.job import Job
from vesalius.verbs.frame.arguments import Argument, arguments
from vesalius.verbs.frame.shared import JobArgs

F = TypeVar("F", bound=Callable[..., Any])
#: What a verb is for: the headings of `vesalius --help` and of the reference, in their order.
Heading = Literal["set up", "data", "ask", "learn", "examine"]
#: Every verb whose file was imported, by name.
REGISTERED: dict[str, Verb] = {}


@dataclass(frozen=True)
class Verb:
    """One declared operation.

    Args:
        name: What a user types: one word, or a word and an action (`data import`).
        help: One line, from the function's docstring.
        heading: Where it is listed.
        args: Dataclass of its arguments.
        function: `(args, job)` to its result.
        uses: Which of `JobArgs` it heeds.
        reads_only: It changes nothing outside `--out`.
        long: It may take more than a few seconds: a server runs it in the background.
        default: The action that its word alone stands for.
        exits: Exit codes beside those of every verb, and what they mean here.
        gives: The result's field that a Python caller gets in its place, and that field's class (`module:class`).
        returns: Where the result's class is.
    """

    name: str
    help: str
    heading: Heading
    args: type
    function: Callable[[Any, Job], Any]
    uses: tuple[str, ...] = ()
    reads_only: bool = False
    long: bool = False
    default: bool = False
    exits: Mapping[ExitCode, str] = field(default_factory=dict)
    gives: tuple[str, str] | None = None
    returns: str = ""

    @property
    def word(self) -> str:
        """The verb itself, without its action."""
        return self.name.partition(" ")[0]

    @property
    def action(self) -> str:
        """The action of a verb that has several, or ""."""
        return self.name.partition(" ")[2]

    @property
    def python(self) -> str:
        """Name of its Python function."""
        return self.name.replace(" ", "_").replace("-", "_")

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Its own arguments."""
        return arguments(self.args)

    @property
    def job_arguments(self) -> tuple[Argument, ...]:
        """What it lets a user say of the job."""
        return tuple(a for a in arguments(JobArgs) if a.name in self.uses)

    @property
    def result(self) -> type:
        """The class of what it returns."""
        module, _, name = self.returns.partition(":")
        made: type = getattr(importlib.import_module(module), name)
        return made


def verb(
    name: str,
    heading: Heading,
    *,
    uses: tuple[str, ...] = (),
    reads_only: bool = False,
    long: bool = False,
    default: bool = False,
    exits: Mapping[ExitCode, str] = MappingProxyType({}),
    gives: tuple[str, str] | None = None,
    returns: str = "",
) -> Callable[[F], F]:
    """Make a function `(args, job) -> result` a verb; see `Verb` for the arguments.

    Its help is the first line of its docstring; its arguments are the annotation of `args`.
    `returns` (`module:class`) is needed only where the annotation cannot be looked up without a heavy import.
    """

    def register(function: F) -> F:
        known = inspect.get_annotations(function)
        args, gave = known["args"], known["return"]
        args = function.__globals__[args] if isinstance(args, str) else args
        unknown = set(uses) - {a.name for a in arguments(JobArgs)}
        if unknown:
            raise TypeError(f"{name}: a job has no {', '.join(sorted(unknown))}")
        gave = function.__globals__.get(gave, gave) if isinstance(gave, str) else gave
        where = returns or f"{gave.__module__}:{gave.__name__}"
        text = (function.__doc__ or "").strip().splitlines()[0].rstrip(".")
        if name in REGISTERED and REGISTERED[name].function.__module__ != function.__module__:
            raise TypeError(f"{name}: two files declare this verb")
        REGISTERED[name] = Verb(
            name, text[:1].lower() + text[1:], heading, args, function, uses, reads_only, long, default,
            exits, gives, where,
        )  # fmt: skip
        return function

    return register
