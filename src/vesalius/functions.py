"""The verbs as Python functions, made from their declarations when they are first used.

`functions.pyi` beside this file, written by `make docs`, tells editors and type checkers their signatures.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

_FRAME = "vesalius.verbs.frame"


def __getattr__(name: str) -> Any:
    table = importlib.import_module(f"{_FRAME}.table")
    word = name.partition("_")[0]
    if word not in table.words() or name not in [v.python for v in table.actions(word)]:
        raise AttributeError(f"there is no verb {name!r}")
    return _function(name)


def __dir__() -> list[str]:
    return [verb.python for verb in importlib.import_module(f"{_FRAME}.table").verbs()]


@functools.cache
def _function(name: str) -> Callable[..., Any]:
    found = importlib.import_module(f"{_FRAME}.table").find(name)
    made: Callable[..., Any] = importlib.import_module(f"{_FRAME}.functions").function_of(found)
    return made
