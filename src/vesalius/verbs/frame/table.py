"""The one table of verbs: every file below `verbs/`, found by looking, imported without anything heavy."""

from __future__ import annotations

import importlib
import pkgutil
import re
import typing
from collections.abc import Iterable
from pathlib import Path

from vesalius import verbs as room
from vesalius.errors import UsageError
from vesalius.verbs.frame.verb import REGISTERED, Heading, Verb

HEADINGS: tuple[str, ...] = typing.get_args(Heading)
_FRAME = "frame"


#: A declaration as it stands in a file: name, heading, and the first line of the function's docstring.
_DECLARED = re.compile(r'''^@verb\(\s*"([^"]+)",\s*"([^"]+)"[\s\S]*?^def [^"]*"""([^\n"]+)''', re.MULTILINE)
_DOCSTRING = re.compile(r'"""([^\n"]+)')


def headlines() -> tuple[tuple[str, str, str], ...]:
    """(word, heading, one line) of every verb, read from the files and not imported: what `vesalius --help` shows.

    Making the dataclasses of all verbs costs as much as ten starts of Python.
    """
    out = []
    for word in words():
        files = [p for place in room.__path__ for p in sorted((Path(place) / word).glob("*.py"))]
        files += [p for place in room.__path__ if (p := Path(place) / f"{word}.py").is_file()]
        found = [m.groups() for p in files for m in _DECLARED.finditer(p.read_text("utf-8"))]
        if not found:
            continue
        name, heading, text = found[0]
        if " " in name:  # a word with actions: its file says what they have in common
            first = next(p for p in files if p.stem in (word, "__init__"))
            said = _DOCSTRING.search(first.read_text("utf-8"))
            text = said.group(1) if said else ""
        out.append((word, heading, _line(text)))
    return tuple(sorted(out, key=lambda row: (HEADINGS.index(row[1]), row[0])))


def _line(text: str) -> str:
    text = text.strip().rstrip(".")
    return text[:1].lower() + text[1:]


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
    return _line((importlib.import_module(f"{room.__name__}.{word}").__doc__ or "").strip().splitlines()[0])


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
    from difflib import get_close_matches

    near = get_close_matches(asked, list(known), n=1)
    return UsageError("no such verb", item=asked, fix=f"did you mean `{near[0]}`?" if near else otherwise)
