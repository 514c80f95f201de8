"""The lexical scores themselves, each from shared n-gram tables or token rows; `text` is the way in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.metrics.language.ngrams import Corpus, NgramTable
from vesalius.metrics.language.porter import stem

__all__ = ["BleuStatistics", "chrf_scores", "cider_scores", "common_subsequence", "f_scores", "meteor_score"]

Floats = NDArray[np.float64]
Smoothing = Literal["none", "exp"]


class BleuStatistics:
    """Clipped matches, totals and lengths of each pair, from which any corpus or sentence BLEU follows.

    Args:
        corpus: The tokens.
        tables: N-gram tables of orders 1 to 4.
    """

    def __init__(self, corpus: Corpus, tables: Sequence[NgramTable]) -> None:
        lengths = corpus.lengths()
        self.size = lengths[:, 0].astype(np.float64)
        self.match = np.stack([table.clipped() for table in tables])
        self.total = np.stack([np.maximum(self.size - order, 0) for order in range(len(tables))])
        present = np.zeros_like(lengths[:, 1:], dtype=bool)
        present[corpus.pair[corpus.side > 0], corpus.side[corpus.side > 0] - 1] = True
        away = np.where(present, np.abs(lengths[:, 1:] - lengths[:, :1]) + lengths[:, 1:] * 1e-9, np.inf)
        self.reference = np.take_along_axis(lengths[:, 1:], away.argmin(axis=1)[:, None], axis=1)[:, 0].astype(
            np.float64
        )

    def corpus(self, n: int, smoothing: Smoothing = "none") -> float:
        """BLEU of the whole corpus with orders 1 to n."""
        return _bleu(
            self.match[:n].sum(axis=1),
            self.total[:n].sum(axis=1),
            self.size.sum(),
            self.reference.sum(),
            smoothing,
            False,
        )

    def sentences(self, n: int) -> Floats:
        """BLEU of each pair, exponential smoothing, orders that the hypothesis is too short for left out."""
        return np.array(
            [
                _bleu(self.match[:n, i], self.total[:n, i], self.size[i], self.reference[i], "exp", True)
                for i in range(len(self.size))
            ]
        )


def _bleu(match: Floats, total: Floats, size: float, reference: float, smoothing: Smoothing, effective: bool) -> float:
    if match[0] == 0:
        return 0.0
    smooth, logs = 1.0, 0.0
    orders = len(match)
    for order in range(len(match)):
        if total[order] == 0:
            if not effective:
                return 0.0
            orders = order
            break
        precision = match[order] / total[order]
        if match[order] == 0:
            if smoothing == "none":
                return 0.0
            smooth *= 2
            precision = 1 / (smooth * total[order])
        logs += math.log(precision)
    brevity = 1.0 if size >= reference else math.exp(1 - reference / size)
    return brevity * math.exp(logs / orders)


def f_scores(match: Floats, found: Floats, true: Floats, beta: float = 1.0) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F of counts; 0 where a denominator is 0.

    Args:
        match: Shared items.
        found: Items of the hypothesis.
        true: Items of the reference.
        beta: Weight of recall.

    Returns:
        `(precision, recall, f)`.
    """
    match, found, true = np.broadcast_arrays(match, found, true)
    precision = np.divide(match, found, out=np.zeros(match.shape), where=found > 0)
    recall = np.divide(match, true, out=np.zeros(match.shape), where=true > 0)
    weight = beta * beta
    low = weight * precision + recall
    f = np.divide((1 + weight) * precision * recall, low, out=np.zeros(match.shape), where=low > 0)
    return precision, recall, f


def common_subsequence(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö, 2004): one machine word a row, in effect.

    Args:
        first: Symbols.
        second: Symbols.

    Returns:
        Length.
    """
    places: dict[int, int] = {}
    for place, symbol in enumerate(first):
        places[symbol] = places.get(symbol, 0) | 1 << place
    full = (1 << len(first)) - 1
    row = full
    for symbol in second:
        where = places.get(symbol)
        if where is not None:
            met = row & where
            row = (row + met | row - met) & full
    return len(first) - row.bit_count()


def _sums(place: NDArray[np.int64], values: Floats, size: int) -> Floats:
    """Sums of values by place; floats even when there are none."""
    return np.bincount(place, weights=values, minlength=size).astype(np.float64)


def cider_scores(tables: Sequence[NgramTable], lengths: NDArray[np.int64], clip: bool, sigma: float = 6.0) -> Floats:
    """CIDEr or CIDEr-D of each pair (Vedantam, Zitnick and Parikh, CVPR 2015), scaled by 10.

    Args:
        tables: N-gram tables of orders 1 to 4.
        lengths: Symbols of each pair and side.
        clip: The D form: hypothesis weights clipped at the reference's, and a Gaussian penalty of the difference in
            length (counted in bigrams, as the reference implementation does).
        sigma: Width of the penalty.

    Returns:
        Shape `(pairs,)`.
    """
    pairs, sides = lengths.shape
    references = sides - 1
    total = np.zeros((pairs, references))
    present = np.zeros((pairs, references), dtype=bool)
    for table in tables:
        weight = table.count * table.idf()
        slot = table.pair * sides + table.side
        norm = np.sqrt(_sums(slot, weight**2, pairs * sides).reshape(pairs, sides))
        mine = np.zeros(len(table.mine))
        own = table.side == 0
        mine[table.group[own]] = weight[own]
        theirs = ~own
        present[table.pair[theirs], table.side[theirs] - 1] = True
        other = weight[theirs]
        ours = mine[table.group[theirs]]
        product = (np.minimum(ours, other) if clip else ours) * other
        place = table.pair[theirs] * references + table.side[theirs] - 1
        dot = _sums(place, product, pairs * references).reshape(pairs, references)
        scale = norm[:, :1] * norm[:, 1:]
        total += np.divide(dot, scale, out=np.zeros_like(dot), where=scale > 0)
    total /= len(tables)
    if clip:
        bigrams = np.maximum(lengths - 1, 0)
        total *= np.exp(-((bigrams[:, :1] - bigrams[:, 1:]) ** 2) / (2 * sigma**2))
    count = np.maximum(present.sum(axis=1), 1)
    return np.asarray(10 * (total * present).sum(axis=1) / count)


def chrf_scores(corpus: Corpus, orders: int = 6, beta: float = 2.0) -> tuple[float, Floats]:
    """Character F-score (chrF) of the corpus and of each pair (Popović, WMT 2015), as sacrebleu's without word n-grams.

    Args:
        corpus: Characters without white space.
        orders: Largest order.
        beta: Weight of recall.

    Returns:
        `(corpus score, scores of the pairs)`, in [0, 1]; of several references the best counts.
    """
    match = np.stack([table.matches() for table in corpus.tables(orders)])
    lengths = corpus.lengths()
    steps = np.arange(orders)[:, None, None]
    size = np.maximum(lengths[None] - steps, 0).astype(np.float64)
    # Orders that a reference is too short for count nothing on the side of the hypothesis either, as in sacrebleu.
    found, true = size[:, :, :1] * (size[:, :, 1:] > 0), size[:, :, 1:]
    each = _chrf(match, found, true, beta)
    best = each.argmax(axis=1)
    rows = np.arange(corpus.pairs)
    sums = [part[:, rows, best].sum(axis=1) for part in (match, found, true)]
    return float(_chrf(sums[0], sums[1], sums[2], beta)), each[rows, best]


def _chrf(match: Floats, found: Floats, true: Floats, beta: float) -> Floats:
    """F of the mean precision and mean recall over the orders that both sides are long enough for (first axis)."""
    usable = (found > 0) & (true > 0)
    count = np.maximum(usable.sum(axis=0), 1)
    precision, recall, _ = f_scores(match, found, true)
    p, r = (precision * usable).sum(axis=0) / count, (recall * usable).sum(axis=0) / count
    weight = beta * beta
    low = weight * p + r
    return np.asarray(np.divide((1 + weight) * p * r, low, out=np.zeros_like(p), where=low > 0))


def _align(hypothesis: Sequence[str], reference: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of equal words, then of equal stems, each from the end of the text backwards."""
    pairs: list[tuple[int, int]] = []
    left, right = list(range(len(hypothesis))), list(range(len(reference)))
    one, two = list(hypothesis), list(reference)
    for stage in range(2):
        if stage:
            one = [stem(hypothesis[i]) for i in left]
            two = [stem(reference[j]) for j in right]
        places: dict[str, list[int]] = {}
        for place, word in zip(right, two, strict=True):
            places.setdefault(word, []).append(place)
        rest: list[int] = []
        used: set[int] = set()
        for place, word in zip(reversed(left), reversed(one), strict=True):
            stack = places.get(word)
            if stack:
                match = stack.pop()
                pairs.append((place, match))
                used.add(match)
            else:
                rest.append(place)
        left, right = rest[::-1], [j for j in right if j not in used]
        if not left or not right:
            break
    return sorted(pairs)


def meteor_score(
    hypothesis: Sequence[str], reference: Sequence[str], alpha: float = 0.9, beta: float = 3.0, gamma: float = 0.5
) -> float:
    """METEOR with exact and stem matches (Lavie and Agarwal, WMT 2007); no synonyms.

    Args:
        hypothesis: Lower-case words.
        reference: Lower-case words.
        alpha: Weight of precision against recall in the mean.
        beta: Exponent of the fragmentation penalty.
        gamma: Weight of the penalty.

    Returns:
        Score in [0, 1].
    """
    pairs = _align(hypothesis, reference)
    if not pairs:
        return 0.0
    chunks = 1 + sum(1 for a, b in pairwise(pairs) if b[0] != a[0] + 1 or b[1] != a[1] + 1)
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
    mean = precision * recall / (alpha * precision + (1 - alpha) * recall)
    return float(mean * (1 - gamma * (chunks / len(pairs)) ** beta))
