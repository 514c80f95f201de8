"""The filter language of `where=`: text or a mapping to a small tree, which a store turns into its own query.

    modality = CT and age >= 60 and sex = F
    label.effusion = 1 and not (site in (A, B) or view like LAT%)
    label."pleural effusion" is known and time >= 2020-01-01

Fields: `id patient time dataset split licence` of the case, `modality view kind body_part` of the image,
`label.NAME`, and any other name is an attribute (`attribute.NAME` where it would clash). Text compares without regard
to ASCII case. A test of a field that a case does not have is false, also for `!=`; `not` turns it around.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from vesalius.errors import UsageError

Op = Literal["=", "!=", "<", "<=", ">", ">=", "like"]
Space = Literal["case", "image", "label", "attribute"]

CASE_FIELDS = ("id", "patient", "time", "dataset", "split", "licence")
IMAGE_FIELDS = ("modality", "view", "kind", "body_part")

#: Longest filter and deepest nesting that are read.
MAX_LENGTH, MAX_DEPTH = 20_000, 60


@dataclass(frozen=True)
class Field:
    """Which fact of a case or image is tested."""

    space: Space
    name: str


@dataclass(frozen=True)
class Constant:
    """A value as written; `number` is set where it was written as a number (or true, false)."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Compare:
    """`field op value`; true only where the field is known."""

    field: Field
    op: Op
    value: Constant


@dataclass(frozen=True)
class Known:
    """Whether the field has a value."""

    field: Field


@dataclass(frozen=True)
class Not:
    """Negation in two-valued logic."""

    part: Condition


@dataclass(frozen=True)
class Join:
    """All (`and`) or any (`or`) of the parts; no parts: true for `and`, false for `or`."""

    how: Literal["and", "or"]
    parts: tuple[Condition, ...]


Condition = Compare | Known | Not | Join

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<date>\d{4}-\d{2}(?:-\d{2})?(?:T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w.]))
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w]))
      | (?P<word>[^\W][\w\-./+:%*]*)
      | (?P<like>%[\w\-./+:%*]*)
      | (?P<op><=|>=|!=|<>|==|=|<|>)
      | (?P<punct>[(),])
    )""",
    re.VERBOSE,
)
_OPS = {"==": "=", "<>": "!="}
_RESERVED = {"and", "or", "not", "in", "like", "is"}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Condition:
    """Read a filter.

    Raises:
        UsageError: It cannot be read; the message points at the place.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError("filter is too long", why=f"{len(text)} characters, at most {MAX_LENGTH}")
    return _Parser(text).whole()


def from_mapping(fields: Mapping[str, Any]) -> Condition:
    """A filter from plain data, all entries joined by `and`.

    A value is a scalar (equal), a list (one of), None (not known), or a pair `(op, value)`.

    Raises:
        UsageError: An operator or value that is not understood.
    """
    parts: list[Condition] = []
    for name, value in fields.items():
        field = field_of(name)
        if value is None:
            parts.append(Not(Known(field)))
        elif isinstance(value, tuple) and len(value) == 2 and value[0] in ("=", "!=", "<", "<=", ">", ">=", "like"):
            parts.append(Compare(field, cast(Op, value[0]), literal(value[1])))
        elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
            parts.append(Join("or", tuple(Compare(field, "=", literal(v)) for v in value)))
        else:
            parts.append(Compare(field, "=", literal(value)))
    return Join("and", tuple(parts))


def condition(where: str | Mapping[str, Any] | None) -> Condition | None:
    """The tree of whatever the user gave; None and blank text mean no filter."""
    if where is None or (isinstance(where, str) and not where.strip()):
        return None
    return parse(where) if isinstance(where, str) else from_mapping(where)


def literal(value: Any) -> Constant:
    """A Python value as a literal."""
    if isinstance(value, bool):
        return Constant("true" if value else "false", float(value))
    if isinstance(value, int | float):
        return Constant(str(value), float(value))
    if isinstance(value, str):
        return Constant(value)
    raise UsageError("cannot filter by this value", item=repr(value)[:80], fix="use text, a number or a truth value")


def field_of(name: str) -> Field:
    """The field that a name stands for."""
    if name in CASE_FIELDS:
        return Field("case", name)
    if name in IMAGE_FIELDS:
        return Field("image", name)
    head, dot, rest = name.partition(".")
    if dot and rest and head in ("label", "labels"):
        return Field("label", rest)
    if dot and rest and head in ("attribute", "attributes"):
        return Field("attribute", rest)
    return Field("attribute", name)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at, self.depth = text, list(_tokens(text)), 0, 0

    def whole(self) -> Condition:
        found = self.any()
        if self.at < len(self.tokens):
            raise self.wrong("expected `and`, `or` or the end")
        return found

    def peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def keyword(self, *words: str) -> str:
        """Take the next token if it is one of these keywords or signs."""
        token = self.peek()
        if token is not None and token.kind in ("word", "punct") and token.text.lower() in words:
            self.at += 1
            return token.text.lower()
        return ""

    def wrong(self, why: str) -> UsageError:
        token = self.peek()
        place = token.at if token is not None else len(self.text)
        rest = self.text[place : place + 30]
        return UsageError(
            "cannot read the filter",
            item=self.text if len(self.text) <= 120 else self.text[:117] + "...",
            why=f"{why} at position {place}" + (f", found `{rest}`" if rest else ", found the end"),
            fix="write for instance `modality = CT and age >= 60 and label.effusion = 1`",
        )

    def any(self) -> Condition:
        parts = [self.all()]
        while self.keyword("or"):
            parts.append(self.all())
        return parts[0] if len(parts) == 1 else Join("or", tuple(parts))

    def all(self) -> Condition:
        parts = [self.one()]
        while self.keyword("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Join("and", tuple(parts))

    def one(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.wrong(f"nested deeper than {MAX_DEPTH}")
        try:
            if self.keyword("not"):
                return Not(self.one())
            if self.keyword("("):
                inside = self.any()
                if not self.keyword(")"):
                    raise self.wrong("expected `)`")
                return inside
            return self.test()
        finally:
            self.depth -= 1

    def test(self) -> Condition:
        field = self.field()
        token = self.peek()
        if token is not None and token.kind == "op":
            self.at += 1
            return Compare(field, cast(Op, _OPS.get(token.text, token.text)), self.value())
        if self.keyword("is"):
            negated = bool(self.keyword("not"))
            word = self.keyword("known", "unknown")
            if not word:
                raise self.wrong("expected `known` or `unknown`")
            return Known(field) if (word == "known") != negated else Not(Known(field))
        negated = bool(self.keyword("not"))
        if self.keyword("like"):
            found: Condition = Compare(field, "like", self.value())
        elif self.keyword("in"):
            found = Join("or", tuple(Compare(field, "=", v) for v in self.values()))
        else:
            raise self.wrong("expected a comparison (= != < <= > >= in like is)")
        return Not(found) if negated else found

    def field(self) -> Field:
        token = self.peek()
        if token is None or token.kind != "word" or token.text.lower() in _RESERVED:
            raise self.wrong("expected the name of a field")
        self.at += 1
        name = token.text
        following = self.peek()
        if name.endswith(".") and following is not None and following.kind == "string":
            self.at += 1
            name += following.text
        return field_of(name)

    def values(self) -> list[Constant]:
        if not self.keyword("("):
            raise self.wrong("expected `(`")
        found = [self.value()]
        while self.keyword(","):
            found.append(self.value())
        if not self.keyword(")"):
            raise self.wrong("expected `,` or `)`")
        return found

    def value(self) -> Constant:
        token = self.peek()
        if token is None or token.kind in ("op", "punct") or (token.kind == "word" and token.text.lower() in _RESERVED):
            raise self.wrong("expected a value")
        self.at += 1
        if token.kind == "number":
            return Constant(token.text, float(token.text))
        if token.kind == "word" and token.text.lower() in ("true", "false"):
            return Constant(token.text.lower(), float(token.text.lower() == "true"))
        return Constant(token.text)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise UsageError("cannot read the filter", item=text[:120], why=f"unexpected sign at position {at}")
        kind, word = match.lastgroup, match.group(match.lastgroup)
        if kind == "string":
            word = re.sub(r"\\(.)", r"\1", word[1:-1])
        found.append(_Token("word" if kind == "like" else kind, word, match.start(match.lastgroup)))
        at = match.end()
    return found
