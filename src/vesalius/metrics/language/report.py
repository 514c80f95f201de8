"""Clinical scores of reports, from labels and entities that a parser has read already (plain data, any parser).

- labels: name -> 1 present, 0 absent, -1 uncertain, `None` not mentioned;
- entities: `(term, type)`; relations: `(entity, kind, entity)`, each hashable;
- uptake: organ -> `normal`, `increased`, `decreased` ...; an organ that is not mentioned is not in the mapping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import BadInputError, UsageError
from vesalius.metrics.checks import finite
from vesalius.metrics.measure import Measure
from vesalius.metrics.registry import metric
from vesalius.metrics.statistics.bootstrap import bootstrap_weighted

__all__ = [
    "CHEXPERT_5",
    "CHEXPERT_14",
    "TEMPORAL_WORDS",
    "LabelF1",
    "UptakeScores",
    "composite",
    "entity_f1",
    "label_f1",
    "label_scores",
    "radgraph_f1",
    "relation_f1",
    "set_f1s",
    "temporal_f1",
    "temporal_f1s",
    "temporal_words",
    "uptake_f1",
    "uptake_scores",
]

Floats = NDArray[np.float64]
Labels = Mapping[str, int | None]

CHEXPERT_14 = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
CHEXPERT_5 = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")


def _paired(predicted: Sequence[Any], truth: Sequence[Any]) -> int:
    if len(predicted) != len(truth) or not len(truth):
        raise BadInputError("inputs differ in length", why=f"{len(predicted)} predictions for {len(truth)} references")
    return len(truth)


def _f1(tp: Any, fp: Any, fn: Any) -> Any:
    low = np.asarray(2.0 * tp + fp + fn)
    return np.divide(2.0 * tp, low, out=np.zeros(low.shape), where=low > 0)


@dataclass(frozen=True)
class LabelF1:
    """F1 of report labels.

    Attributes:
        micro: From counts summed over labels and reports (with an interval over reports if asked for).
        macro: Mean of the F1 of each label; a label without any positive on either side counts 0, as in scikit-learn.
        samples: Mean over reports of the F1 of their label sets; two empty sets count 1.
        per_label: Label to its F1.
        support: Label to its positive references.
        n: Reports.
        uncertain: How uncertain labels were read.
    """

    micro: Measure
    macro: Measure
    samples: float
    per_label: dict[str, float]
    support: dict[str, int]
    n: int
    uncertain: str


def _positive(labels: Sequence[Labels], names: Sequence[str], uncertain: str) -> NDArray[np.bool_]:
    ones = {1, -1} if uncertain == "positive" else {1}
    out = np.zeros((len(labels), len(names)), dtype=bool)
    for row, report in enumerate(labels):
        for column, name in enumerate(names):
            value = report.get(name)
            if value not in (1, 0, -1, None):
                raise BadInputError(
                    "cannot use labels", item=f"report {row}, {name}", why=f"{value!r} is not 1, 0, -1 or None"
                )
            out[row, column] = value in ones
    return out


def label_scores(
    predicted: Sequence[Labels],
    truth: Sequence[Labels],
    names: Sequence[str] = CHEXPERT_14,
    *,
    uncertain: Literal["positive", "negative"] = "positive",
    groups: Sequence[Hashable] | None = None,
    resamples: int = 0,
    seed: int = 0,
) -> LabelF1:
    """F1 of the labels of generated reports against those of the references, read by the same labeller.

    Args:
        predicted: Labels of each generated report.
        truth: Labels of each reference report.
        names: Labels to score: `CHEXPERT_14`, `CHEXPERT_5` or any others.
        uncertain: Read uncertain as `positive` (as F1-CheXbert does) or `negative`. Absent and not mentioned are
            negative.
        groups: Patient of each report, drawn whole by the bootstrap.
        resamples: Bootstrap resamples; 0 for no intervals.
        seed: Seed of the bootstrap.

    Returns:
        The scores.

    Raises:
        BadInputError: Numbers differ, or a label has another value.
        UsageError: Unknown reading of uncertain labels.
    """
    if uncertain not in ("positive", "negative"):
        raise UsageError("unknown reading of uncertain labels", item=str(uncertain), fix="use positive or negative")
    n = _paired(predicted, truth)
    guess, true = _positive(predicted, names, uncertain), _positive(truth, names, uncertain)
    hits = np.stack([guess & true, guess & ~true, ~guess & true]).astype(np.float64)

    def micro(counts: NDArray[Any]) -> Floats:
        tp, fp, fn = (counts @ part.sum(axis=1) for part in hits)
        return np.asarray(_f1(tp, fp, fn))

    def macro(counts: NDArray[Any]) -> Floats:
        tp, fp, fn = (counts @ part for part in hits)
        return np.asarray(_f1(tp, fp, fn).mean(axis=1))

    cluster = None if groups is None else np.asarray([str(group) for group in groups])

    def measure(name: str, statistic: Callable[[NDArray[Any]], Floats]) -> Measure:
        if not resamples:
            value = float(statistic(np.ones((1, n), dtype=np.int64))[0])
            return Measure(value, n=n, name=name, higher_is_better=True)
        found = bootstrap_weighted(statistic, n, resamples=resamples, seed=seed, groups=cluster, limits=(0.0, 1.0))
        return found.named(name, higher_is_better=True)

    each = _f1(*(part.sum(axis=0) for part in hits))
    rows = _f1(*(part.sum(axis=1) for part in hits))
    rows[hits.sum(axis=(0, 2)) == 0] = 1.0
    return LabelF1(
        micro=measure("f1_micro", micro),
        macro=measure("f1_macro", macro),
        samples=float(rows.mean()),
        per_label={name: float(v) for name, v in zip(names, each, strict=True)},
        support={name: int(v) for name, v in zip(names, true.sum(axis=0), strict=True)},
        n=n,
        uncertain=uncertain,
    )


@metric(
    "label_f1",
    definition="F1 of the findings a labeller reads in generated and reference reports, present (and "
    "uncertain) against the "
    "rest, micro or macro over 14 or 5 CheXpert findings.",
    source="protocol of Smit et al., EMNLP 2020 (CheXbert), with any labeller: name it beside the number",
    edge_cases="A finding that occurs on neither side counts 0 in the macro mean; unequal numbers and other "
    "values are errors.",
)
def label_f1(
    predicted: Sequence[Labels],
    truth: Sequence[Labels],
    names: Sequence[str] = CHEXPERT_14,
    average: Literal["micro", "macro", "samples"] = "micro",
) -> float:
    """F1 of labels, uncertain read as positive; see `label_scores`."""
    if average not in ("micro", "macro", "samples"):
        raise UsageError("unknown average", item=str(average), fix="use micro, macro or samples")
    found: Measure | float = getattr(label_scores(predicted, truth, names), average)
    return found.value if isinstance(found, Measure) else found


def set_f1s(predicted: Sequence[Iterable[Hashable]], truth: Sequence[Iterable[Hashable]]) -> Floats:
    """F1 of two sets for each report.

    Args:
        predicted: Items of each generated report; repeats count once.
        truth: Items of each reference.

    Returns:
        Shape `(n,)`; two empty sets give 1, one empty 0.

    Raises:
        BadInputError: Numbers differ, or there is none.
    """
    _paired(predicted, truth)
    out = []
    for mine, other in zip(predicted, truth, strict=True):
        found, true = set(mine), set(other)
        out.append(2 * len(found & true) / (len(found) + len(true)) if found or true else 1.0)
    return np.array(out)


_SET_EDGES = "Two empty sets give 1, one empty 0; repeats count once; unequal numbers are errors."


@metric(
    "entity_f1",
    definition="F1 of the sets of (term, type) entities of generated and reference report; mean over reports.",
    source="in the style of RadGraph F1 (Jain et al., NeurIPS 2021; Yu et al., Patterns 2023), with any parser",
    edge_cases=_SET_EDGES,
)
def entity_f1(predicted: Sequence[Iterable[Hashable]], truth: Sequence[Iterable[Hashable]]) -> float:
    """Mean F1 of entity sets; see `set_f1s`."""
    return float(set_f1s(predicted, truth).mean())


@metric(
    "relation_f1",
    definition="F1 of the sets of (entity, kind, entity) relations of generated and reference report; mean "
    "over reports.",
    source="in the style of RadGraph F1 (Jain et al., NeurIPS 2021; Yu et al., Patterns 2023), with any parser",
    edge_cases=_SET_EDGES,
)
def relation_f1(predicted: Sequence[Iterable[Hashable]], truth: Sequence[Iterable[Hashable]]) -> float:
    """Mean F1 of relation sets; see `set_f1s`."""
    return float(set_f1s(predicted, truth).mean())


@metric(
    "radgraph_f1",
    definition="Mean of the entity F1 and the relation F1 of each report; mean over reports.",
    source="combination of Yu et al., Patterns 2023; the parser is not theirs, so values do not compare with "
    "RadGraph's",
    edge_cases=_SET_EDGES,
)
def radgraph_f1(
    predicted: Sequence[tuple[Iterable[Hashable], Iterable[Hashable]]],
    truth: Sequence[tuple[Iterable[Hashable], Iterable[Hashable]]],
) -> float:
    """Mean of entity and relation F1; each report is `(entities, relations)`."""
    parts = [set_f1s([p[i] for p in predicted], [t[i] for t in truth]) for i in (0, 1)]
    return float(np.mean(parts))


_CHANGE = """
    bigger change cleared constant decrease decreased decreasing elevated elevation enlarged enlargement enlarging
    expanded greater growing improved improvement improving increase increased increasing larger new persistence
    persistent persisting progression progressive reduced removal resolution resolved resolving smaller stability
    stable stably unaltered unchanged unfolded worse worsen worsened worsening
"""
TEMPORAL_WORDS = frozenset(_CHANGE.split())
"""The 44 words of change that the temporal F1 looks for."""
_EPS = 1e-10


def temporal_words(report: str) -> frozenset[str]:
    """The words of change in a report, whole words, case ignored."""
    return TEMPORAL_WORDS & frozenset(re.findall(r"[a-z]+", report.lower()))


def temporal_f1s(predicted: Sequence[str], truth: Sequence[str]) -> Floats:
    """Temporal F1 of each report, shape `(n,)`; see `temporal_f1`.

    Raises:
        BadInputError: Numbers differ, or there is none.
    """
    _paired(predicted, truth)
    out = []
    for mine, other in zip(predicted, truth, strict=True):
        found, true = temporal_words(mine), temporal_words(other)
        if not true:
            out.append(_EPS if found else 1.0)
            continue
        hits = len(found & true)
        precision, recall = (hits + _EPS) / (len(found) + _EPS), (hits + _EPS) / (len(true) + _EPS)
        out.append(2 * precision * recall / (precision + recall))
    return np.array(out)


@metric(
    "temporal_f1",
    definition="F1 of the sets of words of change (44 inflected forms) in generated and reference report, "
    "with 1e-10 added to "
    "counts; mean over reports. It counts words, not what changed.",
    source="temporal entity F1 of Bannur et al., CVPR 2023, as released with Libra (2025)",
    edge_cases="Both without such words give 1; only the reference without gives 1e-10; unequal numbers are errors.",
)
def temporal_f1(predicted: Sequence[str], truth: Sequence[str]) -> float:
    """Mean temporal F1 of report texts."""
    return float(temporal_f1s(predicted, truth).mean())


@dataclass(frozen=True)
class UptakeScores:
    """How well generated PET reports give the uptake of each organ.

    Attributes:
        micro: F1 of (organ, abnormal uptake) over all organs and reports.
        macro: Mean over the organs that are abnormal in some reference.
        per_organ: Organ to its F1.
        support: Organ to its abnormal references.
        precision: Micro precision.
        recall: Micro recall.
        coverage: Organs mentioned / organs in the references.
        degree_accuracy: Share with the same label among the organs that both reports mention; `None` without any.
        missing: Reports without a usable output (refused, truncated); they count as saying nothing.
        n: Reports.
    """

    micro: float
    macro: float
    per_organ: dict[str, float]
    support: dict[str, int]
    precision: float
    recall: float
    coverage: float
    degree_accuracy: float | None
    missing: int
    n: int


def uptake_scores(
    predicted: Sequence[Mapping[str, str] | None], truth: Sequence[Mapping[str, str]], normal: str = "normal"
) -> UptakeScores:
    """Organ-uptake scores; an organ of abnormal uptake is found when the same abnormal label is given.

    Args:
        predicted: Organ to uptake of each generated report; `None` for a missing output.
        truth: Organ to uptake of each reference.
        normal: The label of normal or physiological uptake.

    Returns:
        The scores.

    Raises:
        BadInputError: Numbers differ, or no reference mentions an organ.
    """
    n = _paired(predicted, truth)
    tp: dict[str, int] = {}
    fp: dict[str, int] = {}
    fn: dict[str, int] = {}
    support: dict[str, int] = {}
    named = covered = both = same = 0
    for mine, other in zip(predicted, truth, strict=True):
        guess = mine or {}
        named += len(other)
        shared = set(guess) & set(other)
        covered += len(shared)
        both += len(shared)
        same += sum(guess[organ] == other[organ] for organ in shared)
        for organ in {*guess, *other}:
            found, true = guess.get(organ, normal), other.get(organ, normal)
            support[organ] = support.get(organ, 0) + (true != normal)
            hit = true != normal and found == true
            tp[organ] = tp.get(organ, 0) + hit
            fp[organ] = fp.get(organ, 0) + (found != normal and not hit)
            fn[organ] = fn.get(organ, 0) + (true != normal and not hit)
    if not named:
        raise BadInputError("organ uptake is undefined", why="no reference mentions an organ")
    each = {organ: float(_f1(tp[organ], fp[organ], fn[organ])) for organ in sorted(tp)}
    hits, wrong, missed = sum(tp.values()), sum(fp.values()), sum(fn.values())
    abnormal = [organ for organ in each if support[organ]]
    return UptakeScores(
        micro=float(_f1(hits, wrong, missed)),
        macro=float(np.mean([each[organ] for organ in abnormal])) if abnormal else 0.0,
        per_organ=each,
        support={organ: support[organ] for organ in each},
        precision=hits / (hits + wrong) if hits + wrong else 0.0,
        recall=hits / (hits + missed) if hits + missed else 0.0,
        coverage=covered / named,
        degree_accuracy=same / both if both else None,
        missing=sum(report is None for report in predicted),
        n=n,
    )


@metric(
    "uptake_f1",
    definition="Micro F1 of (organ, abnormal uptake label) of generated and reference PET reports.",
    source="our reading of the clinical efficacy of PET2Rep (2025), whose code is not released",
    edge_cases="A missing output counts as saying nothing; nothing abnormal on either side gives 0; no organ in any "
    "reference is an error. Report the copied template as baseline.",
)
def uptake_f1(predicted: Sequence[Mapping[str, str] | None], truth: Sequence[Mapping[str, str]]) -> float:
    """Micro F1 of abnormal uptake; see `uptake_scores`."""
    return uptake_scores(predicted, truth).micro


@metric(
    "report_composite",
    definition="Weighted mean of per-report scores in [0, 1] (by default equal weights), mean over reports. "
    "It is ours; it is "
    "not RadCliQ, whose weights were fitted to other parts.",
    source="vesalius; the idea of a composite is of Yu et al., Patterns 2023",
    edge_cases="No part, parts of unequal length or outside [0, 1], NaN and weights that do not fit are errors.",
)
def composite(parts: Mapping[str, Sequence[float] | Floats], weights: Mapping[str, float] | None = None) -> float:
    """Composite of per-report scores.

    Args:
        parts: Name to per-report values, for example ROUGE-L, label F1 by report, entity and relation F1.
        weights: Name to weight; equal by default.

    Returns:
        Score in [0, 1].

    Raises:
        BadInputError: As the edge cases say.
    """
    if not parts:
        raise BadInputError("nothing to combine", why="no part was given")
    share = dict.fromkeys(parts, 1.0) if weights is None else dict(weights)
    if set(share) != set(parts) or min(share.values()) < 0 or sum(share.values()) <= 0:
        raise BadInputError("cannot use weights", why="each part needs one weight >= 0, and one must be positive")
    columns = {name: finite(values, name) for name, values in parts.items()}
    if len({len(c) for c in columns.values()}) != 1 or not len(next(iter(columns.values()))):
        raise BadInputError("inputs differ in length", why="each part needs one value for each report")
    for name, column in columns.items():
        if column.min() < 0 or column.max() > 1:
            raise BadInputError("cannot combine", item=name, why="its values are not in [0, 1]")
    total = sum(share.values())
    return float(sum(share[name] / total * column.mean() for name, column in columns.items()))
