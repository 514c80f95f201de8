"""From a declared verb to its command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from vesalius.errors import UsageError
from vesalius.verbs.frame.arguments import Argument, arg, arguments
from vesalius.verbs.frame.verb import Verb


@dataclass(frozen=True)
class FaceArgs:
    """What only a command line asks."""

    json: bool = arg("print one JSON object on stdout", False)
    quiet: bool = arg("no progress on stderr", False)
    offline: bool = arg("never use the network (this is the default; wins over --online)", False)
    debug: bool = arg("show the trace of an error", False)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors leave with exit code 2 and say where help is."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        raise UsageError(message, fix=f"see `{self.prog} --help`")


def parser_of(verb: Verb) -> Parser:
    """The parser of one verb: its own arguments, then what every command takes."""
    parser = Parser(
        prog=f"vesalius {verb.name}", description=f"{verb.help[:1].upper()}{verb.help[1:]}.", allow_abbrev=False
    )
    _add(parser, [a for a in verb.arguments if a.name in vars(verb.args).get("__annotations__", {}) or a.positional])
    taken = {a.dest for a in parser._actions}
    common = parser.add_argument_group("common options")
    _add(common, (a for a in (*verb.arguments, *verb.job_arguments, *arguments(FaceArgs)) if a.name not in taken))
    return parser


def _add(parser: Any, found: Iterable[Argument]) -> None:
    """What is not given is not there: defaults stand in the declaration alone."""
    for a in found:
        settings: dict[str, Any] = {"help": a.option_meaning.replace("%", "%%"), "default": argparse.SUPPRESS}
        if a.kind is bool:
            settings |= {"action": "store_false" if a.default is True else "store_true"}
        elif a.positional:
            settings |= {"nargs": ("*" if not a.required else "+") if a.many else ("?" if not a.required else None)}
        elif a.many and not a.separator:
            settings |= {"action": "append"}
        if a.kind is not bool:
            settings |= {"metavar": a.metavar or _shape(a)}
        if a.positional:
            parser.add_argument(a.name, **{k: v for k, v in settings.items() if v is not None})
        else:
            parser.add_argument(a.option, dest=a.name, required=a.required, **settings)


def _shape(a: Argument) -> str:
    if a.choices:
        return "{" + ",".join(a.choices) + "}"
    if a.positional:
        return a.name.upper()
    return {"int": "N", "float": "X", "Path": "PATH"}.get(a.kind.__name__, "A,B" if a.separator else "TEXT")


def given(options: argparse.Namespace, found: Iterable[Argument]) -> dict[str, Any]:
    """What was typed for some arguments."""
    typed: Mapping[str, Any] = vars(options)
    return {a.name: typed[a.name] for a in found if a.name in typed and typed[a.name] is not None}
