"""Speed of the metrics beside their peers: bootstrapped AUC, surface distances, lexical scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from perf.timing import row

Row = dict[str, Any]


def bootstrap_auc() -> list[Row]:
    """Bootstrap of an AUROC against the loop over scikit-learn that users write."""
    from sklearn.metrics import roc_auc_score

    from vesalius.metrics.statistics.bootstrap import bootstrap

    rows = []
    for n, resamples, goal in ((500, 500, None), (5_000, 200, 30.0), (50_000, 20, None)):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, n)
        score = rng.normal(y, 1)

        def ours(y: Any = y, score: Any = score, resamples: int = resamples) -> object:
            return bootstrap(y, score, resamples=resamples, stratified=False)

        def peer(y: Any = y, score: Any = score, resamples: int = resamples, n: int = n) -> object:
            draw = np.random.default_rng(0)
            values = []
            for _ in range(resamples):
                index = draw.integers(0, n, n)
                values.append(roc_auc_score(y[index], score[index]))
            return np.quantile(values, (0.025, 0.975))

        name = f"AUROC bootstrap, {resamples} resamples, n = {n}"
        rows.append(row(name, ours, peer, peer_name="scikit-learn loop", goal=goal, n=n, repeats=5))
    return rows


def _balls(size: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    axes = np.ogrid[:size, :size, :size]
    centre = size // 2

    def ball(shift: tuple[int, int, int], r: int) -> np.ndarray:
        return sum((a - centre - s) ** 2 for a, s in zip(axes, shift, strict=True)) <= r * r

    return ball((0, 0, 0), radius), ball((4, 3, -2), radius + 2)


def surface_distances() -> list[Row]:
    """HD95 and NSD together against MONAI (edge definition) and surface-distance (surfel definition)."""
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    from vesalius.metrics.segmentation.masks import surface_scores

    torch.set_num_threads(1)
    rows = []
    for size, radius in ((128, 30), (256, 70)):
        a, b = _balls(size, radius)
        one, two = torch.tensor(a)[None, None], torch.tensor(b)[None, None]

        def ours(a: Any = a, b: Any = b) -> object:
            return surface_scores(a, b, (1.0, 1.0, 1.0))

        def monai(one: Any = one, two: Any = two) -> object:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                options = {"include_background": True, "spacing": 1.0}
                far = compute_hausdorff_distance(one, two, percentile=95, **options)
                return far, compute_surface_dice(one, two, [1.0], **options)

        name = f"HD95 + NSD, {size}^3, ball of radius {radius}"
        rows.append(row(f"{name}, edge", ours, monai, peer_name="MONAI", goal=4.0, n=size**3, repeats=3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import surface_distance

            def surfel(a: Any = a, b: Any = b) -> object:
                return surface_scores(a, b, (1.0, 1.0, 1.0), definition="surfel")

            def deepmind(a: Any = a, b: Any = b) -> object:
                table = surface_distance.compute_surface_distances(b, a, (1.0, 1.0, 1.0))
                surface_distance.compute_robust_hausdorff(table, 95)
                return surface_distance.compute_surface_dice_at_tolerance(table, 1.0)

            rows.append(row(f"{name}, surfel", surfel, deepmind, peer_name="surface-distance", n=size**3, repeats=3))
    return rows


_PHRASES = """the heart is normal in size|heart size is mildly enlarged|no pleural effusion is seen
|there is a small left pleural effusion|small bilateral effusions have increased since the prior study
|no pneumothorax|the lungs are clear|patchy opacity at the right base may represent atelectasis or pneumonia
|the mediastinal contour is unremarkable|an endotracheal tube ends 3 cm above the carina
|degenerative changes of the thoracic spine|unchanged from prior|no acute osseous abnormality
|low lung volumes accentuate the bronchovascular markings|a nodule of 8 mm in the left upper lobe is stable"""


def report_pairs(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Pairs of made-up reports of about 37 words, the second a disturbed copy of the first."""
    rng = np.random.default_rng(seed)
    phrases = [" ".join(p.split()) for p in _PHRASES.split("|")]
    hypotheses, references = [], []
    for _ in range(n):
        picks = rng.choice(len(phrases), int(rng.integers(4, 8)), replace=False)
        reference = [phrases[i] for i in picks]
        kept = [p if rng.random() < 0.7 else phrases[int(rng.integers(len(phrases)))] for p in reference]
        words = " . ".join(kept).split()
        words = [f"finding{int(rng.integers(400))}" if rng.random() < 0.05 else w for w in words]
        references.append(" . ".join(reference) + " .")
        hypotheses.append(" ".join(words) + " .")
    return hypotheses, references


def lexical() -> list[Row]:
    """BLEU 1-4, ROUGE-1/2/L, CIDEr-D and chrF together against the three packages that give them; METEOR apart."""
    import sacrebleu
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from rouge_score.rouge_scorer import RougeScorer

    from vesalius.metrics.language.text import LexicalScorer

    n = 3_000
    hypotheses, references = report_pairs(n)
    names = ("bleu1", "bleu2", "bleu3", "bleu4", "rouge1", "rouge2", "rougeL", "rougeL_coco", "cider_d", "chrf")
    scorer = LexicalScorer(names, "words")

    def peers() -> object:
        bleu = sacrebleu.corpus_bleu(hypotheses, [references]).score
        chrf = sacrebleu.corpus_chrf(hypotheses, [references]).score
        rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
        each = [rouge.score(r, h) for h, r in zip(hypotheses, references, strict=True)]
        truth, found = {i: [r] for i, r in enumerate(references)}, {i: [h] for i, h in enumerate(hypotheses)}
        coco = [Bleu(4).compute_score(truth, found, verbose=0)[0], Rouge().compute_score(truth, found)[0]]
        return bleu, chrf, len(each), coco, Cider().compute_score(truth, found)[0]

    rows = [
        row(
            f"BLEU1-4 + ROUGE-1/2/L + CIDEr-D + chrF, {n} report pairs",
            lambda: scorer.score(hypotheses, references),
            peers,
            peer_name="sacrebleu + rouge-score + pycocoevalcap",
            goal=5.0,
            n=n,
            repeats=3,
        )
    ]
    rows.append(_meteor(hypotheses, references))
    return rows


def _meteor(hypotheses: list[str], references: list[str]) -> Row:
    from nltk.translate.meteor_score import single_meteor_score

    from vesalius.metrics.language.text import LexicalScorer

    class NoSynonyms:
        def synsets(self, *_: object) -> list[object]:
            return []

    scorer, empty = LexicalScorer(("meteor",), "split"), NoSynonyms()

    def peer() -> object:
        pairs = zip(hypotheses, references, strict=True)
        return [single_meteor_score(r.split(), h.split(), wordnet=empty) for h, r in pairs]

    name = f"METEOR (exact + stem), {len(hypotheses)} report pairs"

    def ours() -> object:
        return scorer.score(hypotheses, references)

    return row(name, ours, peer, peer_name="nltk", n=len(hypotheses), repeats=3)


TOPICS: dict[str, Callable[[], list[Row]]] = {
    "bootstrap-auc": bootstrap_auc,
    "surface-distances": surface_distances,
    "lexical": lexical,
}
