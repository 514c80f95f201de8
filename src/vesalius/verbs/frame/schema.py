"""JSON schemas of arguments and results, for HTTP routes and tools."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vesalius.verbs.frame.arguments import Argument
from vesalius.verbs.frame.results import plain
from vesalius.verbs.frame.verb import Verb

_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Path: {"type": "string"},
    type(None): {"type": "null"},
}


def describe(verb: Verb) -> dict[str, Any]:
    """Everything that a face needs to offer a verb to a program."""
    return {
        "name": verb.name,
        "description": f"{verb.help[:1].upper()}{verb.help[1:]}.",
        "heading": verb.heading,
        "read_only": verb.reads_only,
        "long": verb.long,
        "arguments": arguments_schema(verb),
        "result": result_schema(verb),
        "exits": {str(int(code)): text for code, text in verb.exits.items()},
    }


def arguments_schema(verb: Verb) -> dict[str, Any]:
    """JSON schema of the arguments, those of the job that the verb heeds among them."""
    found = (*verb.arguments, *verb.job_arguments)
    return {
        "type": "object",
        "properties": {a.name: _of_argument(a) for a in found},
        "required": [a.name for a in found if a.required],
        "additionalProperties": False,
    }


def _of_argument(a: Argument) -> dict[str, Any]:
    one = dict(_PLAIN[a.kind])
    if a.choices:
        one["enum"] = list(a.choices)
    if a.low is not None:
        one["minimum"] = a.low
    if a.high is not None:
        one["maximum"] = a.high
    out: dict[str, Any] = {"type": "array", "items": one} if a.many else one
    if a.optional:
        out = {"anyOf": [out, {"type": "null"}]}
    out["description"] = a.help + (f", in {a.unit}" if a.unit else "")
    if not a.required:
        out["default"] = plain(a.default)
    return out


def result_schema(verb: Verb) -> dict[str, Any]:
    """JSON schema of what `to_dict()` of the verb's result gives."""
    return schema_of(verb.result)


def schema_of(hint: Any) -> dict[str, Any]:
    """JSON schema of a type; what it cannot say more about may be anything."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(i) for i in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [schema_of(i) for i in inner],
            "minItems": len(inner),
            "maxItems": len(inner),
        }
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(inner[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": schema_of(inner[0])}
    if hasattr(hint, "json_schema"):
        found: dict[str, Any] = hint.json_schema()
        return found
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _of_dataclass(hint)
    return {}


def _of_dataclass(cls: type) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # a field's type is known to type checkers alone
        return {"type": "object", "description": _first_line(cls)}
    shown = [f for f in dataclasses.fields(cls) if not f.metadata.get("hidden")]
    return {
        "type": "object",
        "description": _first_line(cls),
        "properties": {f.name.rstrip("_"): schema_of(hints[f.name]) for f in shown},
        "required": [f.name.rstrip("_") for f in shown if f.default is not None],
    }


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]
