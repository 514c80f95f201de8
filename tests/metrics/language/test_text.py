from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.language import text
from vesalius.metrics.language.lexical import common_subsequence, meteor_score
from vesalius.metrics.language.porter import stem
from vesalius.metrics.language.text import LexicalScorer
from vesalius.metrics.language.tokens import TOKENIZERS

VOCABULARY = """the heart is normal in size no pleural effusion or pneumothorax seen there small left basal opacity has
    increased since prior lungs are clear mild cardiomegaly unchanged stable consolidating consolidation effusions
    enlarged"""
WORDS = VOCABULARY.split()


def sentences(min_words=0):
    return st.lists(st.sampled_from(WORDS), min_size=min_words, max_size=25).map(" ".join)


def corpora(references=1, min_words=0):
    pair = st.tuples(
        sentences(min_words), st.lists(sentences(max(min_words, 1)), min_size=references, max_size=references)
    )
    return st.lists(pair, min_size=1, max_size=12).map(lambda rows: ([a for a, _ in rows], [b for _, b in rows]))


REAL = (
    [
        "The heart is normal in size. No pleural effusion, or pneumothorax (see above).",
        "Small left-sided effusion; 1.5 cm nodule, unchanged since 2019-03-04!",
        "Lungs are clear.",
        'Mild cardiomegaly & "stable" opacity at the base...',
    ],
    [
        "Heart size is normal. There is no pleural effusion or pneumothorax.",
        "There is a small left effusion. A 1.5 cm nodule is unchanged, compared to 2019-03-04.",
        "The lungs are clear. No effusion.",
        "Mild cardiomegaly. The opacity at the left base is stable.",
    ],
)


@given(corpora())
@settings(max_examples=20)
def test_bleu_and_chrf_equal_sacrebleu(corpus):
    sacrebleu = pytest.importorskip("sacrebleu")
    hyp, refs = corpus
    streams = [[r[0] for r in refs]]
    for smoothing in ("none", "exp"):
        for n in (1, 2, 4):
            peer = sacrebleu.BLEU(smooth_method=smoothing, max_ngram_order=n, tokenize="13a").corpus_score(hyp, streams)
            assert text.bleu(hyp, refs, n, "13a", smoothing) == pytest.approx(peer.score / 100)
    assert text.chrf(hyp, refs) == pytest.approx(sacrebleu.CHRF().corpus_score(hyp, streams).score / 100)
    scores = LexicalScorer(("bleu4", "chrf"), "13a").score(hyp, refs)
    for index, (h, r) in enumerate(zip(hyp, refs, strict=True)):
        peer = sacrebleu.BLEU(effective_order=True, tokenize="13a").sentence_score(h, r).score
        assert scores.pairs["bleu4"][index] == pytest.approx(peer / 100)
        assert scores.pairs["chrf"][index] == pytest.approx(sacrebleu.CHRF().sentence_score(h, r).score / 100)


@given(corpora(references=3))
@settings(max_examples=20)
def test_several_references_equal_sacrebleu_and_the_coco_tools(corpus):
    sacrebleu = pytest.importorskip("sacrebleu")
    coco = pytest.importorskip("pycocoevalcap.cider.cider")
    from pycocoevalcap.rouge.rouge import Rouge

    hyp, refs = corpus
    streams = [[r[i] for r in refs] for i in range(3)]
    peer = sacrebleu.BLEU(smooth_method="none").corpus_score(hyp, streams).score
    assert text.bleu(hyp, refs, tokenize="13a") == pytest.approx(peer / 100)
    assert text.chrf(hyp, refs) == pytest.approx(sacrebleu.CHRF().corpus_score(hyp, streams).score / 100)
    gts, res = dict(enumerate(refs)), {i: [h] for i, h in enumerate(hyp)}
    scores = LexicalScorer(("cider_d", "rougeL_coco"), "split").score(hyp, refs)
    _, each = coco.Cider().compute_score(gts, res)
    np.testing.assert_allclose(scores.pairs["cider_d"], each, atol=1e-9)
    _, each = Rouge().compute_score(gts, {i: [h or "-"] for i, h in enumerate(hyp)})
    np.testing.assert_allclose(scores.pairs["rougeL_coco"], each, atol=1e-9)


def test_real_punctuation_is_tokenised_as_the_peers_do():
    sacrebleu = pytest.importorskip("sacrebleu")
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    hyp, refs = REAL
    for line in [
        *hyp,
        *refs,
        "A&amp;B &lt;5mm &quot;x&quot; T2-weighted 3-4 1,000.5 i.v. - end-\nline",
        "§ µg/ml ~5 [a]{b}|c",
    ]:
        assert TOKENIZERS["13a"](line) == Tokenizer13a()(line).split()
    for smoothing in ("none", "exp"):
        peer = sacrebleu.corpus_bleu(hyp, [refs], smooth_method=smoothing).score
        assert text.bleu(hyp, refs, tokenize="13a", smoothing=smoothing) == pytest.approx(peer / 100)
    assert text.chrf(hyp, refs) == pytest.approx(sacrebleu.corpus_chrf(hyp, [refs]).score / 100)


@given(corpora())
@settings(max_examples=30)
def test_coco_metrics_equal_pycocoevalcap(corpus):
    coco = pytest.importorskip("pycocoevalcap.bleu.bleu")
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    hyp, refs = corpus
    hyp = [h or "x" for h in hyp]
    gts, res = dict(enumerate(refs)), {i: [h] for i, h in enumerate(hyp)}
    scores = LexicalScorer(tokenize="split").score(hyp, refs)
    peer, _ = coco.Bleu(4).compute_score(gts, res, verbose=0)
    longest = max(len(h.split()) for h in hyp)
    for n in range(4):
        if longest <= n:
            # No candidate has an n-gram of this order: 0 by definition; the peer's two small constants make 0.01 of it.
            assert scores.corpus[f"bleu{n + 1}"] == 0
            continue
        # The peer adds 1e-15 to matches and 1e-9 to totals: visible where there is no match at all (1e-4 at most).
        assert scores.corpus[f"bleu{n + 1}"] == pytest.approx(peer[n], abs=1e-6 if peer[n] > 1e-3 else 1e-3)
    assert scores.corpus["rougeL_coco"] == pytest.approx(Rouge().compute_score(gts, res)[0])
    assert scores.corpus["cider_d"] == pytest.approx(Cider().compute_score(gts, res)[0])


@given(corpora(), st.booleans())
@settings(max_examples=20)
def test_rouge_equals_rouge_score(corpus, stemmed):
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    peer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmed)
    hyp, refs = corpus
    hyp, refs = [*hyp, *REAL[0]], [*refs, *([r] for r in REAL[1])]
    scores = LexicalScorer(("rouge1", "rouge2", "rougeL"), "rouge", stemmed=stemmed).score(hyp, refs)
    for index, (h, r) in enumerate(zip(hyp, refs, strict=True)):
        expected = peer.score(r[0], h)
        for name in ("rouge1", "rouge2", "rougeL"):
            assert scores.pairs[name][index] == pytest.approx(expected[name].fmeasure)
    assert text.rouge_l(hyp, refs, "rouge", stemmed) == scores.corpus["rougeL"]


class NoWordNet:
    def synsets(self, *_):
        return []


@given(sentences(1), sentences(1))
def test_meteor_equals_nltk_without_wordnet(hypothesis, reference):
    meteor = pytest.importorskip("nltk.translate.meteor_score")
    from nltk.stem.porter import PorterStemmer

    h, r = hypothesis.split(), reference.split()
    stemmer = PorterStemmer(mode=PorterStemmer.ORIGINAL_ALGORITHM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = meteor.single_meteor_score(r, h, stemmer=stemmer, wordnet=NoWordNet())
    assert meteor_score(h, r) == pytest.approx(expected)
    assert text.meteor([hypothesis], [reference]) == pytest.approx(expected)


def test_the_stemmer_equals_nltk_in_its_original_mode():
    porter = pytest.importorskip("nltk.stem.porter")
    peer = porter.PorterStemmer(mode=porter.PorterStemmer.ORIGINAL_ALGORITHM)
    bases = """relat condit rat val hesit digit conform radic differ vil analog vietnam pred oper feud decis hope call
        form sens triplic electr good reviv allow infer air gyroscop adjust defens irrit replac depend adopt homolog
        commun activ angular effect bowdl prob rol contr fizz hopp tann fall hiss fail fil motor agre pleur opac
        cardiomegal consolid enlarg calcif y say toy syzyg fly dyspnoe hyperinfl b ab"""
    endings = """s es ies sses ss ed ing eed ated bling y ying ational tional enci anci izer abli alli entli eli ousli
        ization ation ator alism iveness fulness ousness aliti iviti biliti icate ative alize iciti ical ful ness al
        ance ence er ic able ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize e le ll lle"""
    for word in [a + b for a in bases.split() for b in ["", *endings.split()]]:
        if len(word) > 2:  # the peer stems shorter words too; Porter's own program leaves them
            assert stem(word) == peer.stem(word), word


@given(st.lists(st.integers(0, 5), max_size=90), st.lists(st.integers(0, 5), max_size=90))
def test_common_subsequence_equals_dynamic_programming(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    assert common_subsequence(a, b) == table[-1][-1]


def test_cider_by_hand():
    # Three pairs; "effusion" occurs in one reference of three (idf log 3), "no" in two (log 1.5), "x" in one.
    hyp, refs = ["no effusion", "no", "x"], ["no effusion", "no", "x"]
    scores = LexicalScorer(("cider", "cider_d")).score(hyp, refs)
    # A perfect pair has a cosine of 1 in each order it is long enough for: 2 of 4 and 1 of 4.
    np.testing.assert_allclose(scores.pairs["cider"], [5.0, 2.5, 2.5])
    np.testing.assert_allclose(scores.pairs["cider_d"], [5.0, 2.5, 2.5])
    repeated = LexicalScorer(("cider", "cider_d")).score(["no effusion", "no", "x x x x"], refs)
    assert repeated.pairs["cider"][2] == pytest.approx(2.5)
    assert repeated.pairs["cider_d"][2] == pytest.approx(2.5 * np.exp(-9 / 72) / 4)
    assert LexicalScorer(("cider_d",)).score(["a b"], ["a b"]).corpus["cider_d"] == 0.0


def test_token_scores_and_exact_match_by_hand():
    hyp, refs = ["Yes, there is effusion", "", "", "Left Lung."], ["effusion effusion", "", "effusion", "left lung"]
    scores = LexicalScorer(("token_precision", "token_recall", "token_f1", "exact_match")).score(hyp, refs)
    np.testing.assert_allclose(scores.pairs["token_precision"], [1 / 4, 1, 0, 1])
    np.testing.assert_allclose(scores.pairs["token_recall"], [1 / 2, 1, 0, 1])
    np.testing.assert_allclose(scores.pairs["token_f1"], [1 / 3, 1, 0, 1])
    np.testing.assert_allclose(scores.pairs["exact_match"], [0, 1, 0, 1])
    assert text.token_f1(hyp, refs) == pytest.approx((1 / 3 + 2) / 4)
    assert text.exact_match(hyp, refs) == 0.5


def test_the_default_tokeniser_reads_any_script():
    assert TOKENIZERS["words"]("左肺 1.5 cm 结节, Größe T2-weighted Murphy's") == [
        "左", "肺", "1.5", "cm", "结", "节", "grösse", "t", "2", "weighted", "murphy's",
    ]  # fmt: skip
    assert text.rouge_l(["肝脏未见异常"], ["肝脏摄取未见异常"]) == pytest.approx(2 * 6 / 14)


@given(corpora(min_words=4))
@settings(max_examples=20)
def test_a_perfect_answer_scores_best_and_an_alien_one_worst(corpus):
    _, refs = corpus
    same = [r[0] for r in refs]
    best = LexicalScorer().score(same, refs).corpus
    worst = LexicalScorer().score(["αβγ δεζ"] * len(refs), refs).corpus
    for name in best:
        assert worst[name] <= best[name]
        if name not in ("cider", "cider_d", "meteor"):
            assert best[name] == pytest.approx(1.0)
            assert worst[name] == 0.0


def test_corpus_and_pairs_are_consistent():
    scores = LexicalScorer(stemmed=True).score(*REAL)
    assert scores.n == 4
    assert scores.tokenizer == "words"
    for name in text.LEXICAL:
        assert scores.pairs[name].shape == (4,)
        if not name.startswith("bleu") and name != "chrf":
            assert scores.corpus[name] == pytest.approx(scores.pairs[name].mean())
    assert text.cider(*REAL) == pytest.approx(scores.corpus["cider"])
    assert text.token_recall(*REAL) == pytest.approx(scores.corpus["token_recall"])


def test_unusable_text_is_a_named_error():
    with pytest.raises(BadInputError, match="2 hypotheses for 1"):
        text.rouge_1(["a", "b"], ["a"])
    with pytest.raises(BadInputError, match="length"):
        text.rouge_1([], [])
    with pytest.raises(BadInputError, match="pair 1"):
        text.bleu(["a", None], ["a", "b"])
    with pytest.raises(BadInputError, match="no reference"):
        text.bleu(["a"], [[]])
    with pytest.raises(UsageError, match="one string"):
        text.bleu("a", "b")
    with pytest.raises(UsageError, match="tokeniser"):
        LexicalScorer(tokenize="ptb")
    with pytest.raises(UsageError, match="metric"):
        LexicalScorer(("bertscore",))
    with pytest.raises(UsageError, match="smoothing"):
        text.bleu(["a"], ["a"], smoothing="floor")
