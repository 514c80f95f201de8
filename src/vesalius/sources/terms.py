"""Disease names, synonyms and is-a links from an OBO file, such as the slims of the Human Disease Ontology.

The format is that of the OBO Flat File Format 1.2: stanzas of `tag: value` lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vesalius.errors import BadInputError, MissingError

_MAX_BYTES = 512 * 2**20
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a vocabulary.

    Args:
        id: Such as `DOID:1579`.
        name: Preferred name.
        synonyms: Other names.
        definition: One sentence, or "".
        parents: Ids of the terms it is a kind of.
        codes: Codes in other vocabularies (`ICD10CM:I42`).
    """

    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    definition: str = ""
    parents: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()


def read_terms(path: str | os.PathLike[str], *, obsolete: bool = False) -> tuple[Term, ...]:
    """The terms of an OBO file, or of all OBO files of a folder, repeats kept once.

    Args:
        path: An OBO file, or a folder of them.
        obsolete: Keep terms that the vocabulary has withdrawn.

    Raises:
        MissingError: There is no such file, or no OBO file in the folder.
        BadInputError: A file is not OBO in UTF-8.
    """
    start = Path(path)
    files = sorted(start.glob("*.obo")) if start.is_dir() else [start]
    if not files or not all(f.is_file() for f in files):
        raise MissingError("vocabulary is not there", item=str(start), fix="name an OBO file or a folder with one")
    found: dict[str, Term] = {}
    for file in files:
        for term in _terms(file, obsolete):
            found.setdefault(term.id, term)
    return tuple(found.values())


def _terms(file: Path, obsolete: bool) -> Iterator[Term]:
    if file.stat().st_size > _MAX_BYTES:
        raise BadInputError("vocabulary is too large", item=file.name, why=f"over {_MAX_BYTES} bytes")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError("cannot read vocabulary", item=file.name, why=str(error)) from error
    if not text.startswith("format-version:"):
        raise BadInputError("cannot read vocabulary", item=file.name, why="it does not start as an OBO file does")
    for stanza in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        if not stanza.startswith("Term]"):
            continue
        tags: dict[str, list[str]] = {}
        for line in stanza.splitlines()[1:]:
            tag, colon, value = line.partition(":")
            if colon:
                tags.setdefault(tag.strip(), []).append(value.strip())
        if "id" in tags and "name" in tags and (obsolete or tags.get("is_obsolete") != ["true"]):
            yield Term(
                tags["id"][0],
                tags["name"][0],
                tuple(dict.fromkeys(_quoted(v) for v in tags.get("synonym", []))),
                _quoted(tags.get("def", [""])[0]),
                tuple(v.partition("!")[0].strip() for v in tags.get("is_a", [])),
                tuple(tags.get("xref", [])),
            )


def _quoted(value: str) -> str:
    match = _QUOTED.search(value)
    return re.sub(r"\\(.)", r"\1", match[1]) if match else ""
