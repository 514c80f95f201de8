"""The one table of verbs: every file below `verbs/`, found by looking, imported without anything heavy."""

from __future__ import annotations

import importlib
import pkgutil
import typing
from collections.abc import Iterable
from difflib import get_close_matches

from vesalius import verbs as room
from vesalius.errors import UsageError
from vesalius.verbs.frame.verb import REGISTERED, Heading, Verb

HEADINGS: tuple[str, ...] = typing.get_args(Heading)
_FRAME = "frame"


def words() -> tuple[str, ...]:
    """The first words of all verbs, by file name; imports nothing."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(room.__path__) if m.name != _FRAME))


def verbs() -> tuple[Verb, ...]:
    """Every verb, by heading and name; the actions of one in the order they are declared."""
    found = [v for word in words() for v in actions(word)]
    return tuple(sorted(found, key=lambda v: (HEADINGS.index(v.heading), v.word)))


def actions(word: str) -> tuple[Verb, ...]:
    """The verb of a word, or its actions; imports its file (or folder) only.

    Raises:
        UsageError: There is no such verb.
    """
    if word not in words():
        raise _none(word, words(), "see `vesalius --help`")
    module = importlib.import_module(f"{room.__name__}.{word}")
    for part in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}."):
        importlib.import_module(part.name)
    return tuple(v for v in REGISTERED.values() if v.word == word)


def summary(word: str) -> str:
    """One line about a word: the verb's own help, or what the file says of all its actions."""
    found = actions(word)
    if len(found) == 1 and not found[0].action:
        return found[0].help
    text = (importlib.import_module(f"{room.__name__}.{word}").__doc__ or "").strip().splitlines()[0].rstrip(".")
    return text[:1].lower() + text[1:]


def find(name: str) -> Verb:
    """The verb of a full name, as typed (`data import`) or as in Python (`data_import`).

    Raises:
        UsageError: There is none.
    """
    word = name.replace("_", " ").partition(" ")[0]
    for v in actions(word):
        if name in (v.name, v.python):
            return v
    raise _none(name, [v.name for v in actions(word)], f"see `vesalius {word} --help`")


def _none(asked: str, known: Iterable[str], otherwise: str) -> UsageError:
    near = get_close_matches(asked, list(known), n=1)
    return UsageError("no such verb", item=asked, fix=f"did you mean `{near[0]}`?" if near else otherwise)
