"""Verbs as Python functions: `vesalius.search(...)` and the rest, with real signatures and docstrings."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.verbs.frame.arguments import Argument, make
from vesalius.verbs.frame.calls import call
from vesalius.verbs.frame.shared import JobArgs
from vesalius.verbs.frame.verb import Verb


def function_of(verb: Verb) -> Callable[..., Any]:
    """The verb as a function with keyword arguments.

    Without a `job` it is silent, and warns of what was refused.
    """
    sign = signature(verb)
    own = {a.name for a in verb.arguments}

    def function(*args: Any, **kwargs: Any) -> Any:
        given = sign.bind(*args, **kwargs).arguments
        job = given.pop("job", None)
        of_job = {name: given.pop(name) for name in list(given) if name not in own}
        if job is not None and of_job:
            raise UsageError("said twice", item=", ".join(of_job), why="a job says it too", fix="say it in the job")
        used = job or Job(**vars(make(JobArgs, of_job)))
        result = call(verb, make(verb.args, given), used)
        if job is None and used.refused:
            some = "; ".join(f"{r.item}: {r.why}" for r in used.refused[:3])
            warnings.warn(f"{len(used.refused)} item(s) refused: {some}", stacklevel=2)
        return getattr(result, verb.gives[0]) if verb.gives else result

    function.__name__ = function.__qualname__ = verb.python
    function.__module__ = "vesalius"
    function.__doc__ = docstring(verb)
    function.__signature__ = sign  # type: ignore[attr-defined]
    return function


def signature(verb: Verb) -> inspect.Signature:
    """Required and positional arguments first; the others, the job's and `job` by keyword."""
    first = [a for a in verb.arguments if a.positional or a.required]
    first.sort(key=lambda a: not a.required)
    rest = [a for a in verb.arguments if a not in first]
    kinds = inspect.Parameter
    parameters = [_parameter(a, kinds.POSITIONAL_OR_KEYWORD) for a in first]
    parameters += [_parameter(a, kinds.KEYWORD_ONLY) for a in (*rest, *verb.job_arguments)]
    parameters.append(kinds("job", kinds.KEYWORD_ONLY, default=None, annotation="Job | None"))
    return inspect.Signature(parameters)


def _parameter(a: Argument, kind: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if a.required else a.default
    return inspect.Parameter(a.name, kind, default=default, annotation=a.annotation)


def docstring(verb: Verb) -> str:
    """The verb's help and that of each argument, in the form that docstrings here have."""
    lines = [f"{verb.help[:1].upper()}{verb.help[1:]}.", "", "Args:"]
    for a in (*verb.arguments, *verb.job_arguments):
        lines.append(f"    {a.name}: {a.meaning[:1].upper()}{a.meaning[1:]}.")
    lines.append("    job: What it may use and where it reports, in place of the arguments that say so.")
    return "\n".join(lines)
