"""What every corruption does and every value of an audit means: the text of the generated reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["CORRUPTIONS", "MEASURES", "Meaning", "measure_of"]

#: Corruption to (what it does, what its parameter is). x is a value in [0, 1]; pixels are those of a 224-px image.
CORRUPTIONS: Mapping[str, tuple[str, str]] = {
    "pixelate": ("box mean down to a share of the size, and back up in blocks", "share of the size that is kept"),
    "jpeg_compression": ("through JPEG and back", "quality, 1 to 95"),
    "gaussian_noise": ("x + N(0, c)", "c"),
    "speckle_noise": ("x + x N(0, c)", "c"),
    "shot_noise": ("Poisson(x m) / m", "m, photons at full white"),
    "impulse_noise": ("black or white, each as often, on a share of the values", "share"),
    "gaussian_blur": ("Gaussian of sigma 0.3 ((k - 1) / 2 - 1) + 0.8", "kernel k in pixels"),
    "defocus_blur": ("mean over a disk with a softened rim", "radius in pixels, softening"),
    "motion_blur": ("one-sided Gaussian trail, its angle drawn from -45 to 45 degrees", "radius and sigma in pixels"),
    "zoom_blur": ("mean of the image and of enlarged copies", "enlargements: first, end (left out), step"),
    "brightness_up": ("x times a factor", "factor"),
    "brightness_down": ("x times a factor", "factor"),
    "contrast_up": ("away from the mean grey by a factor", "factor"),
    "contrast_down": ("towards the mean grey by a factor", "factor"),
    "gamma_corr_up": ("x to a power above 1: darker", "exponent"),
    "gamma_corr_down": ("x to a power below 1: brighter", "exponent"),
    "saturate": ("adds to the saturation of HSV; grey images stay as they are", "amount"),
    "stain_deposit": ("black blobs of irregular outline", "most blobs (24 px wide, 32 at severity 5)"),
    "bubble": ("translucent white discs with a brighter rim", "largest radius in pixels, most discs"),
    "black_corner": ("black outside a centred circle", "its radius over half the short side"),
    "characters": ("random lower-case words at random places", "most words, most letters, letter size"),
    "window_error": (
        "a wrong display window",
        "shift of the level as a share of the range, width over the right width",
    ),
    "monochrome_flip": ("black and white exchanged, as when MONOCHROME1 is not heeded", "none: one degree only"),
    "metal": ("saturated discs with light and dark streaks", "objects, strength of the streaks"),
    "motion": ("a share of k-space lines taken while the patient had moved", "half the largest shift in pixels, share"),
    "bias_field": ("smooth gain between exp(-s) and exp(s), a random cubic", "s"),
    "ghosting": ("every n-th line of k-space weaker: repeated outlines", "n, weakening"),
    "low_dose": ("quantum noise of few photons: dense places drown first", "photons a pixel in the open beam"),
}


@dataclass(frozen=True)
class Meaning:
    """What one value of an audit, or a family of values, means.

    Args:
        definition: What is measured.
        better: Which way is better, or what to hold it against.
        edges: When it is missing, and what odd input does.
        unit: Unit; "1" for shares and areas.
    """

    definition: str
    better: str
    edges: str
    unit: str = "1"


_AS = "as above"
_RATE = "no interval where it is undefined in over 5 % of the resamples"
_MASKS = "missing where regions are drawn on fewer than 10 patients of a class"
_PAIRS = "missing with fewer than ten pairs"
_WORDS = "zero-shot classifiers with two wordings a class only"
_TEN = "missing with fewer than 10 patients of a class, and for volumes and videos"

#: Pattern of a value's name to its meaning: what a gate may limit. The first pattern that fits counts.
MEASURES: Mapping[str, Meaning] = {
    "performance.auroc": Meaning("area under the ROC curve", "higher", "with one class the audit does not start"),
    "performance.auprc": Meaning("average precision (step form)", "higher; chance is the prevalence", _RATE),
    "performance.brier": Meaning("mean squared error of the probability", "lower", "none"),
    "performance.ece": Meaning(
        "expected calibration error in ten bins of equal width", "lower", "empty bins count nothing; no interval"
    ),
    "performance.sensitivity": Meaning("share of positives at or above the threshold", "higher", _RATE),
    "performance.specificity": Meaning("share of negatives below the threshold", "higher", _RATE),
    "performance.ppv": Meaning(
        "share of positive calls that are right, at the set's prevalence", "higher",
        f"missing when nothing is called positive; {_RATE}",
    ),
    "performance.npv": Meaning(
        "share of negative calls that are right, at the set's prevalence", "higher",
        f"missing when nothing is called negative; {_RATE}",
    ),
    "subgroups.worst_auroc": Meaning(
        "lowest AUROC of a group", "higher", "groups with fewer than 10 of a class, or whose rest has, are left out"
    ),
    "subgroups.largest_auroc_gap": Meaning(
        "largest difference between the AUROC of a group and of all others", "lower", _AS
    ),
    "subgroups.equity_scaled_auroc.*": Meaning(
        "for each attribute, AUROC / (1 + sum over its groups of |AUROC - AUROC of the group|)", "higher", _AS
    ),
    "shortcuts.border_auroc": Meaning(
        "AUROC with only the outer 12 % of each side shown", "0.5; above is a shortcut or anatomy at the edge", _TEN
    ),
    "shortcuts.mask.full": Meaning("AUROC of the whole image, on the patients with a region", "higher", _MASKS),
    "shortcuts.mask.no-fixed": Meaning(
        "AUROC with one and the same area removed from every image: the union of all regions", "0.5",
        f"{_MASKS}; missing where images differ in size or the union is everything",
    ),
    "shortcuts.mask.only-fixed": Meaning("AUROC of that area alone", "context", "as no-fixed"),
    "shortcuts.mask.*": Meaning(
        "AUROC with each image's region (or its box, or its outline alone) removed, or with all else removed",
        "context: the shape of the hole can tell", _MASKS,
    ),
    "robustness.skill_loss": Meaning(
        "(error - clean error) / (chance - clean error), balanced errors, mean over corruptions and severities",
        "lower; 0 nothing lost, 1 all above chance", "missing where the clean model is no better than chance",
    ),
    "robustness.skill_loss.*": Meaning("the same for one corruption", "lower", _AS),
    "robustness.clean_error": Meaning("balanced error on the pictures as they are", "lower", _AS),
    "blind.metadata_auroc": Meaning(
        "AUROC of a logistic regression on the attributes alone, out of fold by patient",
        "context: near the model's own is a warning", "missing without attributes",
    ),
    "blind.brightness_auroc": Meaning(
        "AUROC of the model on pictures of one grey each, that of their mean", "0.5", "missing for volumes and videos"
    ),
    "attributes.*": Meaning(
        "AUROC of a linear probe that reads an attribute off the embedding, out of fold by patient",
        "context: knowing is no fault, using is", "missing without embeddings, or with too few cases of a value",
    ),
    "pairs.set_accuracy": Meaning(
        "share of matched pairs (positive, negative patient) with both answers right", "higher; chance 0.25", _PAIRS
    ),
    "pairs.discrimination": Meaning(
        "(pairs both right - pairs both wrong) / pairs", "higher; 0 is not looking", _PAIRS
    ),
    "pairs.confusion": Meaning("share of pairs that get one answer twice", "lower; 1 is not looking", _PAIRS),
    "pairs.asked_accuracy": Meaning(
        "share of images where a finding that is there gets yes and one that is not gets no", "higher; chance 0.25",
        "zero-shot classifiers only; missing with fewer than ten images that have both",
    ),
    "pairs.asked_discrimination": Meaning("as discrimination, over those two questions", "higher", _AS),
    "prompts.spread": Meaning("best minus worst AUROC over single wordings", "lower", _WORDS),
    "prompts.worst_auroc": Meaning("AUROC of the worst wording", "higher", _WORDS),
    "prompts.optimism": Meaning(
        "by how much the best wording, picked on these cases, is overstated (bootstrap)", "lower", _WORDS
    ),
    "prompts.flip_rate": Meaning("share of decisions on which two wordings differ", "lower", _WORDS),
    "injection.*.flip_rate": Meaning("share of decisions that change when the word is written", "lower", _TEN),
    "injection.*": Meaning(
        "mean shift of the probability towards a burned-in word (raise or lower, letter height as a share of the "
        "picture's), beyond that of its own letters shuffled", "0; above it reads", _TEN,
    ),
    "leakage.*": Meaning(
        "patients, exact copies and near copies on both sides of a split", "0",
        "missing where no training set is given and the cases name no two splits", "number",
    ),
    "alarms.*": Meaning(
        "alarms at the family-wise error rate, of the audit or of one section", "0", "missing for what was not run",
        "number",
    ),
}  # fmt: skip


def measure_of(name: str) -> str | None:
    """The pattern of `MEASURES` that a value's name falls under, None when there is none."""
    return next((pattern for pattern in MEASURES if fnmatchcase(name, pattern)), None)
