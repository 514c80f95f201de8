"""Counting n-grams of a whole corpus at once: texts become rows of integers, and one sort counts everything.

An n-gram of a text is one integer made of (n-gram, pair, side), side 0 being the hypothesis and 1, 2 ... the
references. After sorting, equal numbers lie together: their run length is the count of the n-gram in the text, runs of
one (n-gram, pair) lie side by side, and so do all pairs that hold an n-gram. BLEU, ROUGE, CIDEr and chrF read the same
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corpus", "NgramTable", "corpus_of_characters", "corpus_of_tokens"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Corpus:
    """Texts as integers, one after the other.

    Attributes:
        symbols: Symbol of each place, shape `(places,)`.
        text: Text of each place; ascending.
        size: Symbols in each text, shape `(texts,)`.
        pair: Pair of each text.
        side: 0 for a hypothesis, 1, 2 ... for its references.
        vocabulary: Number of different symbols.
        pairs: Number of pairs.
        sides: 1 + largest number of references.
    """

    symbols: Ints
    text: Ints
    size: Ints
    pair: Ints
    side: Ints
    vocabulary: int
    pairs: int
    sides: int

    def lengths(self) -> Ints:
        """Symbols of each pair and side, shape `(pairs, sides)`; 0 where there is no such reference."""
        out = np.zeros((self.pairs, self.sides), dtype=np.int64)
        out[self.pair, self.side] = self.size
        return out

    def tables(self, orders: int) -> Iterator[NgramTable]:
        """The tables of orders 1, 2 ... `orders`."""
        code, text = self.symbols, self.text
        span = max(self.vocabulary, 1)
        owner = self.pair * self.sides + self.side
        room = max(self.pairs * self.sides, 1)
        for order in range(1, orders + 1):
            if order > 1:
                if span > (1 << 62) // (max(self.vocabulary, 1) * room):
                    names, code = np.unique(code, return_inverse=True)
                    span = max(len(names), 1)
                # Place i of `code` is the n-gram that starts there; it lengthens when its next symbol is of the same
                # text.
                ahead = order - 1
                code = code[:-1] * self.vocabulary + self.symbols[ahead:] if len(code) else code
                span *= max(self.vocabulary, 1)
            inside = text[: len(code)] == text[order - 1 :] if len(code) else np.zeros(0, dtype=bool)
            keys = code[inside] * room + owner[text[: len(code)][inside]]
            yield NgramTable.build(np.sort(keys), self.pairs, self.sides)


@dataclass(frozen=True)
class NgramTable:
    """Counts of the n-grams of one order.

    Attributes:
        pair: Pair of each run (an n-gram in a text).
        side: Side of each run.
        count: How often it occurs there.
        group: Which (n-gram, pair) each run belongs to.
        gram: Which n-gram each run belongs to.
        mine: Count in the hypothesis, for each group.
        pairs: Number of pairs.
        sides: 1 + largest number of references.
    """

    pair: Ints
    side: Ints
    count: Ints
    group: Ints
    gram: Ints
    mine: Ints
    pairs: int
    sides: int

    @classmethod
    def build(cls, keys: Ints, pairs: int, sides: int) -> NgramTable:
        """From sorted keys `(n-gram * pairs + pair) * sides + side`."""
        if not len(keys):
            none = np.zeros(0, dtype=np.int64)
            return cls(none, none, none, none, none, none, pairs, sides)
        starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
        count = np.diff(np.append(starts, len(keys)))
        run = keys[starts]
        both, side = np.divmod(run, sides)
        gram, pair = np.divmod(both, pairs)
        group = np.concatenate([[0], np.cumsum(both[1:] != both[:-1])])
        name = np.concatenate([[0], np.cumsum(gram[1:] != gram[:-1])])
        mine = np.zeros(int(group[-1]) + 1, dtype=np.int64)
        own = side == 0
        mine[group[own]] = count[own]
        return cls(pair, side, count, group, name, mine, pairs, sides)

    def matches(self) -> Floats:
        """N-grams each hypothesis shares with each of its references, clipped, shape `(pairs, sides - 1)`."""
        theirs = self.side > 0
        shared = np.minimum(self.count[theirs], self.mine[self.group[theirs]])
        slot = self.pair[theirs] * (self.sides - 1) + self.side[theirs] - 1
        size = self.pairs * (self.sides - 1)
        return np.bincount(slot, weights=shared, minlength=size).astype(np.float64).reshape(self.pairs, self.sides - 1)

    def clipped(self) -> Floats:
        """N-grams of each hypothesis, each clipped at its largest count in any one reference, shape `(pairs,)`."""
        if self.sides == 2:
            return self.matches()[:, 0]
        if not len(self.count):
            return np.zeros(self.pairs)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(self.group)) + 1])
        most = np.maximum.reduceat(np.where(self.side > 0, self.count, 0), starts)
        shared = np.minimum(most, self.mine)
        return np.bincount(self.pair[starts], weights=shared, minlength=self.pairs).astype(np.float64)

    def idf(self) -> Floats:
        """log(pairs / max(1, pairs whose references hold the n-gram)) of each run."""
        if not len(self.count):
            return np.zeros(0)
        held = np.zeros(int(self.group[-1]) + 1, dtype=bool)
        held[self.group[self.side > 0]] = True
        starts = np.concatenate([[0], np.flatnonzero(np.diff(self.group)) + 1])
        frequency = np.bincount(self.gram[starts], weights=held)
        return np.asarray((np.log(float(self.pairs)) - np.log(np.maximum(frequency, 1.0)))[self.gram])


def _corpus(texts: Sequence[Ints], pair: Ints, side: Ints, vocabulary: int, pairs: int, sides: int) -> Corpus:
    size = np.array([len(t) for t in texts], dtype=np.int64)
    symbols = np.concatenate(texts).astype(np.int64) if len(texts) else np.zeros(0, dtype=np.int64)
    return Corpus(symbols, np.repeat(np.arange(len(texts)), size), size, pair, side, vocabulary, pairs, sides)


def _layout(references: Sequence[Sequence[object]]) -> tuple[Ints, Ints, int]:
    pair = np.concatenate(
        [np.arange(len(references)), np.repeat(np.arange(len(references)), [len(r) for r in references])]
    )
    side = np.concatenate([np.zeros(len(references)), *[np.arange(1, len(r) + 1) for r in references]])
    return pair.astype(np.int64), side.astype(np.int64), 1 + max(len(r) for r in references)


def corpus_of_tokens(hypotheses: Sequence[list[str]], references: Sequence[Sequence[list[str]]]) -> Corpus:
    """Interned tokens.

    Args:
        hypotheses: Tokens of each hypothesis.
        references: Tokens of the references of each.

    Returns:
        The corpus, hypotheses first.
    """
    pair, side, sides = _layout(references)
    known: dict[str, int] = {}
    texts = [*hypotheses, *(reference for group in references for reference in group)]
    # A token gets the number of tokens known before it, in one pass over all texts.
    rows = [np.array([known.setdefault(token, len(known)) for token in text], dtype=np.int64) for text in texts]
    return _corpus(rows, pair, side, len(known), len(hypotheses), sides)


def corpus_of_characters(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Corpus:
    """Characters as symbols; arguments and result as `corpus_of_tokens`."""
    pair, side, sides = _layout(references)
    texts = [*hypotheses, *(reference for group in references for reference in group)]
    raw = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    table = np.zeros(int(raw.max()) + 1 if len(raw) else 1, dtype=np.int64)
    table[raw] = 1
    names = np.cumsum(table) - 1
    size = np.array([len(t) for t in texts], dtype=np.int64)
    text = np.repeat(np.arange(len(texts)), size)
    return Corpus(names[raw], text, size, pair, side, int(table.sum()), len(hypotheses), sides)
