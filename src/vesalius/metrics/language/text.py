"""Lexical metrics of generated text, all from one tokenisation: BLEU, ROUGE, METEOR, CIDEr, chrF, token overlap.

These count words. They say little about whether a report is right: read them beside the clinical metrics of `report`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.language.lexical import (
    BleuStatistics,
    Smoothing,
    chrf_scores,
    cider_scores,
    common_subsequence,
    f_scores,
    meteor_score,
)
from vesalius.metrics.language.ngrams import Corpus, NgramTable, corpus_of_characters, corpus_of_tokens
from vesalius.metrics.language.porter import stem
from vesalius.metrics.language.tokens import Tokenize, tokenizer
from vesalius.metrics.registry import metric

__all__ = [
    "LEXICAL",
    "LexicalScorer",
    "LexicalScores",
    "bleu",
    "chrf",
    "cider",
    "cider_d",
    "exact_match",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "rouge_l_coco",
    "token_f1",
    "token_recall",
]

Floats = NDArray[np.float64]
References = Sequence[str | Sequence[str]]

LEXICAL = (
    "bleu1",
    "bleu2",
    "bleu3",
    "bleu4",
    "rouge1",
    "rouge2",
    "rougeL",
    "rougeL_coco",
    "meteor",
    "cider",
    "cider_d",
    "chrf",
    "token_precision",
    "token_recall",
    "token_f1",
    "exact_match",
)
_EDGES = (
    "No pairs, unequal numbers and values that are not strings are errors; an empty hypothesis or reference scores 0. "
    "With several references the best counts unless the definition says otherwise."
)


@dataclass(frozen=True)
class LexicalScores:
    """Lexical scores of a corpus.

    Attributes:
        corpus: Metric to its corpus value: BLEU and chrF from summed counts, the others the mean over pairs.
        pairs: Metric to its value for each pair, shape `(n,)` (BLEU: smoothed sentence BLEU), for intervals and tests.
        n: Pairs.
        tokenizer: Name of the tokeniser.
    """

    corpus: dict[str, float]
    pairs: dict[str, Floats]
    n: int
    tokenizer: str

    def to_dict(self) -> dict[str, Any]:
        """Corpus values as plain data."""
        return {"corpus": self.corpus, "n": self.n, "tokenizer": self.tokenizer}


def _checked(hypotheses: Sequence[str], references: References) -> tuple[list[str], list[list[str]]]:
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise UsageError("one string given", fix="give a list of hypotheses and a list of references")
    texts = list(hypotheses)
    groups = [[group] if isinstance(group, str) else list(group) for group in references]
    if len(texts) != len(groups) or not texts:
        raise BadInputError("inputs differ in length", why=f"{len(texts)} hypotheses for {len(groups)} references")
    for index, (text, group) in enumerate(zip(texts, groups, strict=True)):
        if not group:
            raise BadInputError("no reference", item=f"pair {index}")
        if not isinstance(text, str) or not all(isinstance(reference, str) for reference in group):
            raise BadInputError("not a text", item=f"pair {index}", why="hypotheses and references must be strings")
    return texts, groups


class _Shared:
    """What several metrics need, made once."""

    def __init__(self, texts: list[str], groups: list[list[str]], tokenize: Tokenize, stemmed: bool) -> None:
        self.texts, self.groups = texts, groups
        known: dict[str, list[str]] = {}
        for text in [*texts, *(reference for group in groups for reference in group)]:
            if text not in known:
                known[text] = tokenize(text)
        self.mine = [known[text] for text in texts]
        self.theirs = [[known[reference] for reference in group] for group in groups]
        self._corpora: dict[bool, tuple[Corpus, list[NgramTable]]] = {}
        self.stemmed = stemmed

    def corpus(self, stemmed: bool = False) -> tuple[Corpus, list[NgramTable]]:
        """Corpus and tables of orders 1 to 4, of words or of stems (as rouge-score.

        Of words of four letters or more).
        """
        if stemmed not in self._corpora:
            mine, theirs = self.mine, self.theirs
            if stemmed:
                mine = [[stem(t) if len(t) > 3 else t for t in text] for text in mine]
                theirs = [[[stem(t) if len(t) > 3 else t for t in text] for text in group] for group in theirs]
            corpus = corpus_of_tokens(mine, theirs)
            self._corpora[stemmed] = (corpus, list(corpus.tables(2 if stemmed else 4)))
        return self._corpora[stemmed]

    def overlaps(self, order: int) -> tuple[Floats, Floats, Floats]:
        """Precision, recall and F1 of n-grams, best reference by F1."""
        corpus, tables = self.corpus(self.stemmed)
        lengths = np.maximum(corpus.lengths() - (order - 1), 0).astype(np.float64)
        parts = f_scores(tables[order - 1].matches(), lengths[:, :1], lengths[:, 1:])
        best = parts[2].argmax(axis=1)
        rows = np.arange(corpus.pairs)
        return parts[0][rows, best], parts[1][rows, best], parts[2][rows, best]

    def subsequences(self) -> tuple[Floats, Floats]:
        """ROUGE-L as rouge-score (F1, best reference) and as the COCO tools (beta 1.2, best precision and recall)."""
        corpus, _ = self.corpus(self.stemmed)
        rows = np.split(corpus.symbols, np.cumsum(corpus.size)[:-1])
        lists = [row.tolist() for row in rows]
        lengths = corpus.lengths().astype(np.float64)
        longest = np.zeros((corpus.pairs, corpus.sides - 1))
        for index in range(corpus.pairs, len(lists)):
            pair = int(corpus.pair[index])
            longest[pair, int(corpus.side[index]) - 1] = common_subsequence(lists[pair], lists[index])
        precision, recall, f = f_scores(longest, lengths[:, :1], lengths[:, 1:])
        p, r = precision.max(axis=1), recall.max(axis=1)
        low = r + 1.44 * p
        return f.max(axis=1), np.divide(2.44 * p * r, low, out=np.zeros(len(p)), where=low > 0)


class LexicalScorer:
    """Many lexical metrics from one tokenisation.

    Args:
        metrics: Names out of `LEXICAL`; all by default.
        tokenize: Tokeniser by name (see `tokens.TOKENIZERS`) or a function from a text to its tokens.
        stemmed: Compare stems in ROUGE, as rouge-score with `use_stemmer`.
        smoothing: Smoothing of corpus BLEU: `none` (Papineni et al.) or `exp` (sacrebleu's default).

    Raises:
        UsageError: Unknown metric or tokeniser.
    """

    def __init__(
        self,
        metrics: Iterable[str] = LEXICAL,
        tokenize: str | Tokenize = "words",
        *,
        stemmed: bool = False,
        smoothing: Smoothing = "none",
    ) -> None:
        self.metrics = tuple(metrics)
        odd = [name for name in self.metrics if name not in LEXICAL]
        if odd:
            raise UsageError("unknown lexical metric", item=odd[0], fix=f"use some of {', '.join(LEXICAL)}")
        if smoothing not in ("none", "exp"):
            raise UsageError("unknown smoothing", item=str(smoothing), fix="use none or exp")
        self.tokenize = tokenizer(tokenize)
        self.name = tokenize if isinstance(tokenize, str) else getattr(tokenize, "__name__", "function")
        self.stemmed, self.smoothing = stemmed, smoothing

    def score(self, hypotheses: Sequence[str], references: References) -> LexicalScores:
        """Score a corpus.

        Args:
            hypotheses: Generated texts.
            references: One reference, or several, for each.

        Returns:
            The scores.

        Raises:
            BadInputError: Numbers differ, a text is not a string, or there is none.
        """
        texts, groups = _checked(hypotheses, references)
        shared = _Shared(texts, groups, self.tokenize, self.stemmed)
        wanted = set(self.metrics)
        pairs: dict[str, Floats] = {}
        whole: dict[str, float] = {}
        orders = [n for n in (1, 2, 3, 4) if f"bleu{n}" in wanted]
        if orders:
            statistics = BleuStatistics(*shared.corpus())
            for n in orders:
                pairs[f"bleu{n}"] = statistics.sentences(n)
                whole[f"bleu{n}"] = statistics.corpus(n, self.smoothing)
        for order in (1, 2):
            if f"rouge{order}" in wanted:
                pairs[f"rouge{order}"] = shared.overlaps(order)[2]
        if wanted & {"rougeL", "rougeL_coco"}:
            pairs["rougeL"], pairs["rougeL_coco"] = shared.subsequences()
        if "meteor" in wanted:
            pairs["meteor"] = _meteors(shared)
        for name, clip in (("cider", False), ("cider_d", True)):
            if name in wanted:
                corpus, tables = shared.corpus()
                pairs[name] = cider_scores(tables, corpus.lengths(), clip)
        if "chrf" in wanted:
            bare = ["".join(text.split()) for text in texts]
            characters = corpus_of_characters(bare, [["".join(r.split()) for r in group] for group in groups])
            whole["chrf"], pairs["chrf"] = chrf_scores(characters)
        if wanted & {"token_precision", "token_recall", "token_f1", "exact_match"}:
            pairs.update(_tokens(shared))
        return LexicalScores(
            {name: whole.get(name, float(pairs[name].mean())) for name in self.metrics},
            {name: pairs[name] for name in self.metrics},
            len(texts),
            self.name,
        )


def _meteors(shared: _Shared) -> Floats:
    out = []
    for mine, theirs in zip(shared.mine, shared.theirs, strict=True):
        low = [t.lower() for t in mine]
        out.append(max(meteor_score(low, [t.lower() for t in other]) for other in theirs))
    return np.array(out)


def _tokens(shared: _Shared) -> dict[str, Floats]:
    corpus, tables = shared.corpus()
    lengths = corpus.lengths().astype(np.float64)
    p, r, f = f_scores(tables[0].matches(), lengths[:, :1], lengths[:, 1:])
    rows = np.arange(corpus.pairs)
    best = f.argmax(axis=1)
    same = np.array([float(any(a == b for b in group)) for a, group in zip(shared.mine, shared.theirs, strict=True)])
    # Two empty texts agree; everything else about an empty text is 0.
    both = same * (lengths[:, 0] == 0)
    return {
        "token_precision": np.maximum(p[rows, best], both),
        "token_recall": np.maximum(r[rows, best], both),
        "token_f1": np.maximum(f[rows, best], both),
        "exact_match": same,
    }


def _one(
    name: str, hypotheses: Sequence[str], references: References, tokenize: str | Tokenize, **options: Any
) -> float:
    return LexicalScorer((name,), tokenize, **options).score(hypotheses, references).corpus[name]


@metric(
    "bleu",
    definition="Brevity penalty x geometric mean of the clipped n-gram precisions of orders 1 to n, counts "
    "summed over the "
    "corpus, closest reference length; no smoothing unless asked for.",
    source="Papineni et al., ACL 2002",
    edge_cases=_EDGES + " No n-gram of an order in common gives 0.",
)
def bleu(
    hypotheses: Sequence[str],
    references: References,
    n: int = 4,
    tokenize: str | Tokenize = "words",
    smoothing: Smoothing = "none",
) -> float:
    """Corpus BLEU with orders 1 to `n` (1 to 4), in [0, 1]; other arguments as `LexicalScorer`."""
    return _one(f"bleu{n}", hypotheses, references, tokenize, smoothing=smoothing)


@metric(
    "rouge_1",
    definition="F1 of shared single words, clipped counts; mean over pairs.",
    source="Lin, ACL workshop 2004; values as rouge-score",
    edge_cases=_EDGES,
)
def rouge_1(
    hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words", stemmed: bool = False
) -> float:
    """Mean ROUGE-1 F1; arguments as `LexicalScorer`."""
    return _one("rouge1", hypotheses, references, tokenize, stemmed=stemmed)


@metric(
    "rouge_2",
    definition="F1 of shared word pairs, clipped counts; mean over pairs.",
    source="Lin, ACL workshop 2004; values as rouge-score",
    edge_cases=_EDGES,
)
def rouge_2(
    hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words", stemmed: bool = False
) -> float:
    """Mean ROUGE-2 F1; arguments as `LexicalScorer`."""
    return _one("rouge2", hypotheses, references, tokenize, stemmed=stemmed)


@metric(
    "rouge_l",
    definition="F1 of the longest common subsequence of words; mean over pairs.",
    source="Lin, ACL workshop 2004; values as rouge-score",
    edge_cases=_EDGES,
)
def rouge_l(
    hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words", stemmed: bool = False
) -> float:
    """Mean ROUGE-L F1; arguments as `LexicalScorer`."""
    return _one("rougeL", hypotheses, references, tokenize, stemmed=stemmed)


@metric(
    "rouge_l_coco",
    definition="F with beta = 1.2 of the longest common subsequence, from the best precision and the best "
    "recall over the "
    "references; mean over pairs. This is what captioning and report papers built on the COCO tools call ROUGE-L.",
    source="Chen et al., arXiv 1504.00325; values as pycocoevalcap",
    edge_cases=_EDGES,
)
def rouge_l_coco(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean ROUGE-L of the COCO tools; arguments as `LexicalScorer`."""
    return _one("rougeL_coco", hypotheses, references, tokenize)


@metric(
    "meteor",
    definition="Harmonic mean of precision and recall of aligned words (equal, then of equal Porter stem), "
    "alpha 0.9, reduced "
    "by 0.5 (chunks / matches)^3; words are aligned from the end backwards. No synonyms and no paraphrase table.",
    source="Lavie and Agarwal, WMT 2007; alignment as nltk without WordNet",
    edge_cases=_EDGES,
)
def meteor(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean METEOR (exact + stem); arguments as `LexicalScorer`."""
    return _one("meteor", hypotheses, references, tokenize)


@metric(
    "cider",
    definition="10 x mean over orders 1 to 4 of the cosine of tf-idf vectors, mean over references; idf from "
    "the references "
    "of this corpus, so values of different corpora do not compare.",
    source="Vedantam, Zitnick and Parikh, CVPR 2015",
    range=(0.0, 10.0),
    edge_cases=_EDGES + " A corpus of one pair gives 0, since every idf is 0.",
)
def cider(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean CIDEr; arguments as `LexicalScorer`."""
    return _one("cider", hypotheses, references, tokenize)


@metric(
    "cider_d",
    definition="CIDEr with the hypothesis weights clipped at the reference's and a Gaussian penalty (sigma "
    "6) of the difference "
    "in length.",
    source="Vedantam, Zitnick and Parikh, CVPR 2015; values as pycocoevalcap, which calls it CIDEr",
    range=(0.0, 10.0),
    edge_cases=_EDGES + " A corpus of one pair gives 0, since every idf is 0.",
)
def cider_d(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean CIDEr-D; arguments as `LexicalScorer`."""
    return _one("cider_d", hypotheses, references, tokenize)


@metric(
    "chrf",
    definition="F with beta = 2 of mean precision and mean recall of character n-grams of orders 1 to 6, "
    "white space removed, "
    "counts summed over the corpus.",
    source="Popović, WMT 2015; values as sacrebleu (chrF2) divided by 100",
    edge_cases=_EDGES,
)
def chrf(hypotheses: Sequence[str], references: References) -> float:
    """Corpus chrF, case kept, in [0, 1]; arguments as `LexicalScorer`."""
    return _one("chrf", hypotheses, references, "words")


@metric(
    "token_f1",
    definition="F1 of the bags of words of answer and reference; mean over pairs.",
    source="Rajpurkar et al., EMNLP 2016, without the removal of articles",
    edge_cases="Two empty texts score 1, one empty 0; no pairs and unequal numbers are errors.",
)
def token_f1(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean token F1; arguments as `LexicalScorer`."""
    return _one("token_f1", hypotheses, references, tokenize)


@metric(
    "token_recall",
    definition="Share of the words of the reference that the answer holds, clipped counts; mean over pairs.",
    source="as the open-question score of LLaVA-Med (2023)",
    edge_cases="Two empty texts score 1, one empty 0; a long answer is not punished, so read it beside token_f1.",
)
def token_recall(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Mean token recall; arguments as `LexicalScorer`."""
    return _one("token_recall", hypotheses, references, tokenize)


@metric(
    "exact_match",
    definition="Share of answers with exactly the tokens of a reference (case and punctuation dropped by the "
    "tokeniser).",
    source="standard",
    edge_cases="Two empty texts match; no pairs and unequal numbers are errors.",
)
def exact_match(hypotheses: Sequence[str], references: References, tokenize: str | Tokenize = "words") -> float:
    """Share of exact matches; arguments as `LexicalScorer`."""
    return _one("exact_match", hypotheses, references, tokenize)
