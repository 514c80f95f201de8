"""One sentence, read once: its tokens, its scopes, the findings it names, and the words that describe them."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from vesalius.text.context import Context, MentionStatus
from vesalius.text.lexicon import Lexicon, match_attributes, sizes_mm
from vesalius.text.tokens import Match, Token, tokenize

_BREAKS = frozenset({";", "；", "。", "but", "however", "although", "while", "whereas", "with", "但", "."})
_SEPARATORS = frozenset({",", "，", "、", "and", "with", "or", "及", "和", "伴"})
_PREPOSITIONS = frozenset({"in", "of", "at", "within", "on", "over", "involving", "near", "to", "from", "along"})
_VERBS = frozenset({"is", "are", "was", "were", "has", "have", "appear", "appears", "remain", "remains", "demonstrate"})
_DISTANCES = frozenset({"above", "below", "from", "beyond", "proximal", "distal", "superior", "inferior"})
_REACH = 22  # tokens between an anatomy word and the word that judges it
_GENERIC_PLACES = frozenset({"lung", "pleura", "airspace", "interstitium", "heart"})
#: Historical triggers that speak of the past of the patient and not of the age of a finding.
_PAST_WORDS = ("history", "hx", "h/o", "病史", "既往", "曾")


@dataclass(frozen=True, slots=True)
class Named:
    """A finding named in a sentence.

    Attributes:
        finding: Its id in the lexicon.
        core: First and last (not included) token of the words that carry the judgement.
        first: First token of all its words.
        last: Token after all its words.
        status: What the sentence says about it.
    """

    finding: str
    core: tuple[int, int]
    first: int
    last: int
    status: MentionStatus


@dataclass(frozen=True, slots=True)
class Attribute:
    """A describing word: its kind (`side`, `severity`, `change`, `location`), normal form, and place."""

    kind: str
    value: str
    first: int
    last: int


class ParsedSentence:
    """A sentence with its findings and describing words.

    Args:
        text: The sentence.
        lexicon: The findings to look for.
        offset: Place of the sentence in the report; all character places count from the start of the report.
    """

    def __init__(self, text: str, lexicon: Lexicon, offset: int = 0) -> None:
        self.text, self.offset = text, offset
        self.tokens: tuple[Token, ...] = tokenize(text, offset)
        self._lexicon = lexicon
        self.named: tuple[Named, ...] = self._find_named()
        self.attributes: tuple[Attribute, ...] = self._find_attributes() if self.named else ()
        self._starts = [n.first for n in self.named]
        self._groups = self._group()
        self._sizes = self._size()

    @functools.cached_property
    def context(self) -> Context:
        """The scopes of the sentence; worked out only when a finding is named."""
        return Context(self.tokens)

    def owner(self, attribute: Attribute) -> int | None:
        """Index of the finding that a describing word belongs to, or `None`."""
        return self._owner_at(attribute.first, attribute.last, inside=attribute.kind in {"side", "location"})

    def size_of(self, index: int) -> float | None:
        """The largest size in millimetres that belongs to the finding `index`."""
        return self._sizes.get(index)

    def best(self, index: int, kind: str) -> str | None:
        """The value of one attribute of the finding `index`: the nearest word, both sides joined to `bilateral`."""
        named = self.named[index]
        mine = self._groups.get((index, kind), [])
        if not mine:
            return None
        if kind == "side" and {a.value for a in mine} >= {"left", "right"}:
            return "bilateral"
        if kind == "location":
            mine = [a for a in mine if a.value not in _GENERIC_PLACES] or mine
        return min(mine, key=lambda a: (max(named.first - a.last, a.first - named.last, 0), -a.first)).value

    def _find_named(self) -> tuple[Named, ...]:
        found: list[Named] = []
        taken: dict[str, list[tuple[int, int]]] = {}
        for match in self._lexicon.match(self.tokens):
            for finding in match.value.split("|"):
                found.append(self._name(finding, (match.first, match.last), match.first, match.last))
                taken.setdefault(finding, []).append((match.first, match.last))
        for finding, role, core, first, last in self._find_pairs():
            if any(a < last and first < b for a, b in taken.get(finding, ())):
                if role == "abnormal":
                    continue
                # "vascular engorgement within normal limits": the judgement overrides the bare phrase.
                found = [n for n in found if n.finding != finding or n.last <= first or last <= n.first]
            taken.setdefault(finding, []).append((first, last))
            named = self._name(finding, core, first, last)
            if role != "abnormal":
                status: MentionStatus = "uncertain" if role == "borderline" else "absent"
                if role == "normal" and self.context.status(core[0], core[0] + 1) in {"absent", "hypothetical"}:
                    continue  # "not normal" says too little
                named = Named(finding, core, first, last, status)
            found.append(named)
        judged = {n.core for n in found if n.core != (n.first, n.last)}
        # "calcified aorta": the pair says more than the bare word.
        found = [n for n in found if n.core != (n.first, n.last) or n.core not in judged]
        return tuple(sorted(found, key=lambda n: (n.first, n.last, n.finding)))

    def _name(self, finding: str, core: tuple[int, int], first: int, last: int) -> Named:
        status = self.context.status(*core)
        if status == "historical" and self._lexicon.findings[finding].lasting:
            others = self.context.statuses(*core) - {"historical"}
            triggers = [s.trigger.lower() for s in self.context.scopes if s.status == status and s.first < core[1]]
            if not any(word in trigger for trigger in triggers for word in _PAST_WORDS):
                status = "uncertain" if "uncertain" in others else "present"
        return Named(finding, core, first, last, status)

    def _find_pairs(self) -> list[tuple[str, str, tuple[int, int], int, int]]:
        """Findings said by an anatomy word and a judging word: "the heart is mildly enlarged"."""
        places = self._lexicon.match_anatomy(self.tokens)
        states = self._lexicon.match_states(self.tokens) if places else []
        found = []
        for state in states:
            reachable = self._following(state, places, states) or self._preceding(state, places, states)
            for place in reachable:
                keys = set(place.value.split("|"))
                for value in state.value.split("|"):
                    key, _, role = value.rpartition(":")
                    if key in keys:
                        first, last = min(place.first, state.first), max(place.last, state.last)
                        found.append((key.split(":")[0], role, (state.first, state.last), first, last))
        return found

    def _following(self, state: Match, places: Sequence[Match], states: Sequence[Match]) -> list[Match]:
        """Anatomy after a judging word, and the rest of its list: "normal heart size and mediastinal contours"."""
        found: list[Match] = []
        begins, by_first = {s.first: s.last for s in states}, {p.first: p for p in places}
        at, free = state.last, 4
        while at < len(self.tokens) and at < state.last + _REACH:
            if at in by_first:
                found.append(by_first[at])
                at, free = by_first[at].last, 4
                continue
            word = self.tokens[at].lemma
            if word == "," and found and ":normal" not in state.value:
                break  # "enlarged heart, stable mediastinal contours"
            if at in begins and not found and self.tokens[at - 1].lemma in {"and", "/", "or"}:
                at = begins[at]  # "tortuosity and calcification of the aorta"
                continue
            if word in _BREAKS or word in _VERBS or at in begins or free == 0 or (word == "," and not found):
                break
            free -= 1
            at += 1
        if at < len(self.tokens) and self.tokens[at].lemma in _VERBS:
            # "... normal, heart and aorta are enlarged": what a verb follows belongs to that verb.
            return found[:1] if found and found[0].first - state.last <= 1 else []
        if at in begins:
            return found[:1]
        return found

    def _preceding(self, state: Match, places: Sequence[Match], states: Sequence[Match]) -> list[Match]:
        """Anatomy before a judging word: "heart size and mediastinal contours are normal"."""
        found: list[Match] = []
        ends, by_last = {s.last for s in states if s.last <= state.first}, {p.last: p for p in places}
        at, verb = state.first, False
        while at > 0 and at > state.first - _REACH:
            if at in by_last:
                found.append(by_last[at])
                at = by_last[at].first
                continue
            word = self.tokens[at - 1].lemma
            if word in _BREAKS or (at in ends and found):
                break
            if word in _VERBS:
                if verb:
                    break
                verb = True
            elif word in {",", "，"} and not verb and at not in ends and at - 1 not in ends:
                break
            at -= 1
        return found

    def _find_attributes(self) -> tuple[Attribute, ...]:
        found = [
            Attribute(kind, m.value, m.first, m.last)
            for kind in ("side", "severity", "change", "location")
            for m in match_attributes(self.tokens, kind)
        ]
        changes = [(a.first, a.last) for a in found if a.kind == "change"]
        # "not significantly changed" says nothing of severity.
        return tuple(
            a
            for a in sorted(found, key=lambda a: (a.first, a.last))
            if a.kind != "severity" or not any(f < a.last and a.first < last for f, last in changes)
        )

    def _group(self) -> dict[tuple[int, str], list[Attribute]]:
        groups: dict[tuple[int, str], list[Attribute]] = {}
        for attribute in self.attributes:
            owner = self.owner(attribute)
            if owner is not None:
                groups.setdefault((owner, attribute.kind), []).append(attribute)
        return groups

    def _size(self) -> dict[int, float]:
        """The largest size in millimetres of each finding that has one."""
        sizes: dict[int, float] = {}
        starts = [t.start for t in self.tokens]
        for start, end, millimetres in sizes_mm(self.text) if self.named else ():
            first = bisect.bisect_left(starts, start + self.offset)
            last = bisect.bisect_left(starts, end + self.offset)
            owner = self._owner_at(first, last, inside=False)
            distance = last < len(self.tokens) and self.tokens[last].lemma in _DISTANCES
            if (
                owner is not None
                and not distance
                and self._lexicon.findings[self.named[owner].finding].kind == "finding"
            ):
                sizes[owner] = max(millimetres, sizes.get(owner, 0.0))
        return sizes

    def _owner_at(self, first: int, last: int, *, inside: bool) -> int | None:
        place = bisect.bisect_left(self._starts, last)
        after = place if place < len(self.named) else None
        before = None
        for index in range(place - 1, max(-1, place - 6), -1):
            if self.named[index].last > first:
                begin, end = self.named[index].core
                between = (begin, end) != (self.named[index].first, self.named[index].last) and (
                    last <= begin or end <= first
                )
                return index if inside or between else None  # "the heart is *mildly* enlarged"
            if before is None or self.named[index].last > self.named[before].last:
                before = index
        if before is not None and self._parted(self.named[before].last, first):
            before = None
        if after is not None and self._parted(last, self.named[after].first):
            after = None
        if before is None or after is None:
            return after if before is None else before
        left = self._separated(self.named[before].last, first)
        right = self._separated(last, self.named[after].first)
        if left != right:
            return after if left else before
        if not left and any(
            t.lemma in _PREPOSITIONS for t in self.tokens[max(first - 3, self.named[before].last) : first]
        ):
            return before
        return after if self.named[after].first - last <= first - self.named[before].last else before

    def _parted(self, start: int, end: int) -> bool:
        return any(t.lemma in _BREAKS - {"with"} for t in self.tokens[start:end])

    def _separated(self, start: int, end: int) -> bool:
        return any(t.lemma in _SEPARATORS for t in self.tokens[start:end])
