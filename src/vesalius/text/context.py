"""Is a finding affirmed, denied, uncertain, past, or only asked about?

A ConText-style reader (Chapman et al. 2001, Harkema et al. 2009) with scopes in tokens: a trigger acts on what follows
or on what precedes it until something ends its scope: a contrasting word ("but"), a new assertion ("..., stable
cardiomegaly"), the finite verb of a denied noun ("no effusion *is* seen in this patient with ..."), or a trigger of
another kind. Lists go on through commas ("no effusion, edema, or pneumothorax"). The words are in `data/context.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vesalius.text.tables import load_table
from vesalius.text.tokens import Match, Phrases, Token, lemma, tokenize

MentionStatus = Literal["present", "absent", "uncertain", "historical", "hypothetical"]

#: When scopes overlap the first of these wins.
_PRIORITY: tuple[MentionStatus, ...] = ("absent", "hypothetical", "historical", "uncertain")
#: Longest scope in tokens; bounds the work on text without full stops.
_WIDTH = {"absent": 45, "uncertain": 25, "historical": 12, "hypothetical": 20}
#: Triggers that reach only the next few words.
_SHORT = {"versus": 6, "vs": 6, "borderline": 5, "apparent": 6}
_PARTICIPLES = frozenset(
    {"seen", "identified", "noted", "visualized", "demonstrated", "present", "evident", "appreciated", "detected"}
)
_COMMAS = frozenset({",", "，"})
_JOINS = frozenset({"and", "with", "&"})
_SIDES = frozenset({"left", "right", "bilateral"})
_LIST_ENDS = frozenset({"or", "nor"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What one trigger says about tokens `first` to `last` (not included)."""

    status: MentionStatus
    first: int
    last: int
    trigger: str


class Context:
    """The scopes of one sentence, computed once and asked for many findings.

    Args:
        tokens: The tokens of one sentence.

    Examples:
        >>> from vesalius.text.tokens import tokenize
        >>> words = tokenize("No effusion or pneumothorax, but mild edema.")
        >>> context = Context(words)
        >>> context.status(1, 2), context.status(3, 4), context.status(7, 8)
        ('absent', 'absent', 'present')
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tuple(tokens)
        self._triggers = [m for m in _phrases().find(self.tokens) if m.value != "pseudo"]
        self._stops = {m.first: m for m in self._triggers if m.value == "stop"}
        self._causal = {m.first for m in self._triggers if m.value == "causal"}
        self._forward = {
            m.first: _category(m.value, "forward") for m in self._triggers if _category(m.value, "forward")
        }
        pseudo = {i for m in _phrases().find(self.tokens) if m.value == "pseudo" for i in range(m.first, m.last)}
        self._verbs = {i for i, t in enumerate(self.tokens) if t.lemma in _words("clause") and i not in pseudo}
        self.scopes = tuple(self._all_scopes())

    def status(self, first: int, last: int) -> MentionStatus:
        """The status of the finding at tokens `first` to `last` (not included)."""
        kinds = self.statuses(first, last)
        return next((kind for kind in _PRIORITY if kind in kinds), "present")

    def statuses(self, first: int, last: int) -> set[MentionStatus]:
        """All statuses whose scopes reach tokens `first` to `last` (not included)."""
        return {s.status for s in self.scopes if s.first < last and first < s.last}

    def _all_scopes(self) -> list[Scope]:
        scopes = []
        for match in self._triggers:
            words = " ".join(t.text for t in self.tokens[match.first : match.last])
            ahead, behind = _category(match.value, "forward"), _category(match.value, "backward")
            if ahead:
                scopes.append(Scope(ahead, match.last, self._end_forward(match, ahead), words))
            if behind:
                scopes.append(Scope(behind, self._end_backward(match, behind), match.first, words))
        return [s for s in scopes if s.first < s.last]

    def _end_forward(self, match: Match, status: MentionStatus) -> int:
        """Where a scope that starts after `match` ends."""
        limit = min(len(self.tokens), match.last + _width(match, self.tokens, status))
        neither = self.tokens[match.first].lemma == "neither"  # denies the whole clause: "neither kidney shows ..."
        open_list = self.tokens[match.first].lemma == "differential"
        for at in range(match.last, limit):
            word = self.tokens[at].lemma
            if (
                at in self._stops
                or (at in self._causal and status != "uncertain")
                or (at == len(self.tokens) - 1 and word == ".")
            ):
                return at
            if at > match.last and self._another_begins(at, status):
                return at
            if (
                at > match.last
                and not neither
                and at in self._verbs
                and self.tokens[at - 1].lemma not in {"that", "which", "who"}
            ):
                return at
            if word in _COMMAS and not open_list and self._comma_ends(at, status):
                return at
            if word in _JOINS and at + 1 < limit and self._join_ends(at):
                return at
        return limit

    def _another_begins(self, at: int, status: MentionStatus) -> bool:
        """True when a trigger of another kind takes over at `at`."""
        other = self._forward.get(at)
        if other is None or other == status:
            return False
        if status == "absent":
            return self.tokens[at - 1].lemma in _COMMAS | _JOINS
        return other == "absent" or self.tokens[at - 1].lemma in _COMMAS | _JOINS

    def _asserts(self, at: int) -> bool:
        """True when the word at `at` opens a new assertion ("stable ...", "the heart ...", "there ...")."""
        return self.tokens[at].lemma in _words("asserting")

    def _join_ends(self, at: int) -> bool:
        """True when an "and" or "with" opens a new assertion: "no effusion *and* stable cardiomegaly"."""
        side = self.tokens[at + 1].lemma in _SIDES
        return self._asserts(at + 1) and not side and not self._list_goes_on(at + 1)

    def _comma_ends(self, at: int, status: MentionStatus) -> bool:
        if self.tokens[at].text == "，" or at + 1 >= len(self.tokens):
            return True
        if self.tokens[at - 1].lemma in _PARTICIPLES:
            return True
        if status == "absent":
            return self._asserts(at + 1) and not self._list_goes_on(at + 1)
        return not self._list_goes_on(at + 1, ends=_LIST_ENDS | {"and"}, reach=10)

    def _list_goes_on(self, at: int, ends: frozenset[str] = _LIST_ENDS, reach: int = 25) -> bool:
        """True when an "or" follows before any verb, stop or new trigger: the comma belongs to a list."""
        for place in range(at, min(len(self.tokens), at + reach)):
            if place in self._stops or place in self._verbs or self.tokens[place].lemma in {".", "but"}:
                return False
            if place > at and self._forward.get(place) == "absent":
                return False
            if self.tokens[place].lemma in ends:
                return True
        return False

    def _end_backward(self, match: Match, status: MentionStatus) -> int:
        """The first token of a scope that ends before `match`."""
        limit = max(0, match.first - _width(match, self.tokens, status))
        stops = {i for m in self._triggers if m.value in {"stop", "causal"} for i in range(m.first, m.last)}
        labelled = self.tokens[match.first].text in ":-"
        for at in range(match.first - 1, limit - 1, -1):
            word = self.tokens[at].lemma
            if at in stops or word == ".":
                return at + 1
            if at in self._verbs and at < match.first - 1:
                return at + 1
            if word == "，" or (word == "," and not labelled and self._clause_before(at, match.first)):
                return at + 1
            if status != "absent" and self._forward.get(at) == "absent":
                return at + 1
        return limit

    def _clause_before(self, comma: int, trigger: int) -> bool:
        """True when the comma before a trailing trigger parts two clauses and not the items of one list."""
        between = {t.lemma for t in self.tokens[comma + 1 : trigger]}
        if not between & {"and", "or", "nor"}:
            return True
        for at in range(comma - 1, max(-1, comma - 13), -1):
            if self.tokens[at].lemma == ",":
                return False
            if at in self._verbs:
                return True
        return False


def assess(sentence: str, finding: str) -> MentionStatus:
    """The status of the first place where `finding` stands in `sentence`.

    Args:
        sentence: One sentence.
        finding: Words as they stand there (plural and letter case do not matter).

    Returns:
        The status; a finding that is not in the sentence is `absent`.

    Examples:
        >>> assess("No change in effusion.", "effusion"), assess("Fever: none", "fever")
        ('present', 'absent')
    """
    tokens = tokenize(sentence)
    found = Phrases([(finding, "finding")]).find(tokens)
    return Context(tokens).status(found[0].first, found[0].last) if found else "absent"


def _width(match: Match, tokens: Sequence[Token], status: MentionStatus) -> int:
    return _SHORT.get(tokens[match.first].lemma, _WIDTH[status])


def _category(value: str, direction: str) -> MentionStatus | None:
    """The status that a trigger gives in one direction; values look like `forward:absent|backward:absent`."""
    for part in value.split("|"):
        way, _, status = part.partition(":")
        if way == direction:
            return next(s for s in _PRIORITY if s == status)
    return None


@functools.cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(lemma(word) for word in load_table("context")[kind])


@functools.cache
def _phrases() -> Phrases:
    """All triggers; a phrase that acts both ways carries both values."""
    table = load_table("context")
    values: dict[str, list[str]] = {}
    for direction in ("forward", "backward"):
        for status, phrases in table[direction].items():
            for phrase in phrases:
                values.setdefault(phrase, []).append(f"{direction}:{status}")
    for kind in ("pseudo", "stop", "causal"):
        for phrase in table[kind]:
            values[phrase] = [kind]
    return Phrases((phrase, "|".join(dict.fromkeys(value))) for phrase, value in values.items())
