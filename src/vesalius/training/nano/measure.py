"""What nano can do on cases that nothing was trained or chosen on, measured beside the untouched ImageNet tower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vesalius.cases import Case
from vesalius.metrics.evaluation import RESAMPLES, auroc_measure
from vesalius.metrics.statistics.bootstrap import bootstrap_difference
from vesalius.metrics.statistics.intervals import wilson
from vesalius.models.nano.model import Nano
from vesalius.models.probes import fit_probe
from vesalius.models.zeroshot import zero_shot
from vesalius.training.nano.tasks import (
    MODALITIES,
    PARTS,
    Task,
    diagnostic_tasks,
    few_shot_tasks,
    few_shots,
    modality_truth,
    part_truth,
)

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
#: Query, and what counts as right among the test images of all sets.
QUERIES: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("chest x-ray with pneumonia", lambda c: c.label("Pneumonia") == 1 or "l pneumonia" in _class(c)),
    ("dermoscopy of melanoma", lambda c: c.label("melanoma") == 1),
    ("breast ultrasound, malignant tumour", lambda c: _class(c) == "malignant" and c.source.dataset == "busi"),
    ("normal breast ultrasound", lambda c: _class(c) == "normal" and c.source.dataset == "busi"),
    ("blood smear", lambda c: c.images[0].modality == "GM"),
    ("head CT with bleeding", lambda c: c.source.dataset == "ct-ich" and c.label("no haemorrhage") == 0),
    ("MRI of a brain tumour", lambda c: c.source.dataset == "brain-mr" and _class(c) != "no tumour"),
    ("colonoscopy of a polyp", lambda c: c.source.dataset == "kvasir-seg"),
    ("ultrasound of a fetal head", lambda c: c.source.dataset == "hc18-fetal-head"),
    ("x-ray of a broken bone", lambda c: c.source.dataset == "fracatlas" and _class(c) == "fracture"),
    ("knee x-ray with severe arthrosis", lambda c: _class(c) == "severe osteoarthritis"),
    ("shoulder x-ray with an implant", lambda c: c.source.dataset == "shoulder-implant"),
)  # fmt: skip
#: Finding, its alternative, modality, body part, set, and truth (None leaves a case out).
FINDINGS: tuple[tuple[str, str, str, str, str, Callable[[Case], bool | None]], ...] = (
    ("pneumonia", "no finding", "DX", "chest", "nih-cxr14",
     lambda c: True if c.label("Pneumonia") == 1 else False if c.label("No Finding") == 1 else None),
    ("melanoma", "benign mole", "DMS", "skin", "isic2017", lambda c: c.label("melanoma") == 1),
    ("malignant tumour", "benign tumour", "US", "breast", "busi",
     lambda c: None if _class(c) == "normal" else _class(c) == "malignant"),
    ("pneumonia", "normal", "DX", "chest", "paediatric-pneumonia", lambda c: _class(c) != "normal"),
    ("fracture", "no fracture", "DX", "limb", "fracatlas", lambda c: _class(c) == "fracture"),
    ("haemorrhage", "no haemorrhage", "CT", "head", "ct-ich",
     lambda c: c.label("no haemorrhage") == 0 if c.label("no haemorrhage") is not None else None),
)  # fmt: skip


def _class(case: Case) -> str:
    return str(case.label("class") or "")


@dataclass(frozen=True, eq=False)
class Held:
    """Cases with the vectors that both models give them.

    Args:
        cases: All cases.
        fit: `(cases,)` those that probes may be fitted on.
        test: `(cases,)` those that figures stand on.
        nano: `(cases, 384)` vectors.
        imagenet: `(cases, 1280)` features of the untouched tower.
    """

    cases: Sequence[Case]
    fit: Bools
    test: Bools
    nano: Floats
    imagenet: Floats


def figures_of(held: Held, nano: Nano) -> dict[str, Any]:
    """Every figure of the card."""
    probes = {task.name: _probe(held, task) for task in diagnostic_tasks(held.cases)}
    shots = {}
    for task in few_shot_tasks(held.cases):
        test = task.among(held.test)
        if len(test.cases) < 10 or len(np.unique(test.answer)) < 2:
            continue
        both = {n: few_shots(getattr(held, n), task, held.fit, held.test) for n in ("nano", "imagenet")}
        shots[task.name] = both | {"n": len(test.cases), "classes": len(np.unique(test.answer))}
    kinds = _one_hot(modality_truth(held.cases), len(MODALITIES))
    return {
        "probes": probes,
        "mean": {k: float(np.mean([p[k] for p in probes.values()])) for k in ("nano", "imagenet")},
        "few_shots": shots,
        "modality": _named(held, nano, list(MODALITIES.values()), kinds),
        "part": _named(held, nano, list(PARTS.values()), part_truth(held.cases)),
        "zero_shot": [f for f in (_finding(held, nano, *asked) for asked in FINDINGS) if f],
        "search": _search(held, nano),
    }


def _one_hot(number: npt.NDArray[np.int64], count: int) -> Bools:
    out = np.zeros((len(number), count), bool)
    out[number >= 0] = np.eye(count, dtype=bool)[number[number >= 0]]
    return out


def _probe(held: Held, task: Task) -> dict[str, Any]:
    """Macro AUROC of both, each class's AUROC with interval, and the paired difference of each class."""
    fit, test = task.among(held.fit), task.among(held.test)
    groups = [held.cases[i].group for i in test.cases.tolist()]
    scores = {}
    for name in ("nano", "imagenet"):
        x = getattr(held, name).astype(np.float64)
        owners = [held.cases[i].group for i in fit.cases.tolist()]
        probe = fit_probe("logistic", x[fit.cases], fit.answer, owners, classes=len(task.classes))
        scores[name] = probe.scores(x[test.cases])
    columns = [1] if len(task.classes) == 2 else list(range(len(task.classes)))
    out: dict[str, Any] = {"classes": {}, "nano": 0.0, "imagenet": 0.0}
    for c in columns:
        truth = (test.answer == c).astype(int)
        # One class against the rest: the margin over the best other score.
        margin = {n: s[:, c] - np.delete(s, c, axis=1).max(1) for n, s in scores.items()}
        row = {n: auroc_measure(truth, m, groups, task.classes[c]).to_dict() for n, m in margin.items()}
        gain = bootstrap_difference(truth, margin["nano"], margin["imagenet"], resamples=RESAMPLES, groups=groups)
        row["difference"] = gain.named("difference").to_dict()
        out["classes"][task.classes[c]] = row
        for n in scores:
            out[n] += row[n]["value"] / len(columns)
    return out | {"n": len(test.cases), "patients": len(set(groups)), "fit": len(fit.cases)}


def _named(held: Held, nano: Nano, words: Sequence[str], truth: Bools) -> dict[str, Any]:
    """How many test pictures are given a name that is true of them, in all and in each set."""
    index = np.flatnonzero(held.test & truth.any(1))
    said = zero_shot(nano, words).similarity(held.nano[index]).argmax(1)
    right = truth[index, said]
    sets = np.asarray([held.cases[i].source.dataset for i in index.tolist()])
    by_set = {str(s): [int(right[sets == s].sum()), int((sets == s).sum())] for s in dict.fromkeys(sets)}
    hits, n = int(right.sum()), len(index)
    return {"right": hits, "n": n, "classes": len(words), "share": wilson(hits, n).to_dict(), "by_set": by_set}


def _finding(
    held: Held, nano: Nano, finding: str, other: str, modality: str, part: str, dataset: str,
    truth: Callable[[Case], bool | None],
) -> dict[str, Any] | None:  # fmt: skip
    """AUROC of naming the finding with no labels: its prompts against those of its alternative."""
    asked = {
        i: truth(held.cases[i]) for i in np.flatnonzero(held.test).tolist() if held.cases[i].source.dataset == dataset
    }
    index = [i for i, there in asked.items() if there is not None]
    y = np.asarray([int(bool(asked[i])) for i in index])
    if len(np.unique(y)) < 2:
        return None
    score = zero_shot(nano, (finding, other), modality=modality, body_part=part).predict_vectors(held.nano[index])[:, 0]
    measured = auroc_measure(y, score, [held.cases[i].group for i in index], finding)
    return measured.to_dict() | {"set": dataset, "finding": finding, "against": other, "n": len(index)}


def _search(held: Held, nano: Nano) -> list[dict[str, Any]]:
    index = np.flatnonzero(held.test)
    out = []
    for (query, is_right), vector in zip(QUERIES, nano.embed_text([q for q, _ in QUERIES]), strict=True):
        relevant = np.asarray([is_right(held.cases[i]) for i in index.tolist()])
        top = np.argsort(-(held.nano[index] @ vector), kind="stable")[:10]
        hits = int(relevant[top].sum())
        prevalence = float(relevant.mean())
        out.append({"query": query, "precision": wilson(hits, 10).to_dict(), "prevalence": prevalence, "n": len(index)})
    return out
