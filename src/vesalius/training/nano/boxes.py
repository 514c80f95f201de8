"""How nano's box head is made: phantoms of every kind of study, and the real boxes that open sets bring.

Phantoms carry the words (findings, organs, sides, zones); real lungs and blood cells tie them to real pictures. Only
cases that nano itself was trained on are used; what `held_out.json` names is what the figures are measured on.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vesalius.cases import Case, Mask
from vesalius.job import Job
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.metrics.statistics.inference import delong
from vesalius.models.nano.ground import FILE, GroundHead
from vesalius.models.nano.model import Nano
from vesalius.nn.grounding import GroundNet
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.training.grounding import (
    GroundingData,
    Scene,
    Target,
    box_ious,
    cropped,
    grounding_step,
    scene_of,
    swap_sides,
)
from vesalius.training.loop import Plan, train_loop
from vesalius.training.nano.pictures import collect

Report = Callable[[str], None]

#: Blood cells as people name them; `WBC` and `Platelets` are how the tables do.
CELLS: Mapping[str, Sequence[str]] = {
    "WBC": ("white blood cell", "WBC", "leukocyte"),
    "Platelets": ("platelet", "thrombocyte"),
    "RBC": ("red blood cell", "RBC", "erythrocyte"),
}
#: Study to (phantoms to train on, pixels); a film costs ten times as much to draw at 192 pixels as at 128. The
#: panoramic film is left out: its teeth are 32 names that differ by a digit, each smaller than two cells (tried: mean
#: IoU 0.04 on teeth after 1500 steps).
STUDIES: Mapping[str, tuple[int, int]] = {
    "chest_film": (600, 128), "ct": (200, 192), "pet": (80, 192), "body_mr": (80, 192), "fundus": (160, 192),
    "oct": (120, 192), "dermoscopy": (160, 192), "ultrasound": (200, 192), "histology": (80, 192), "blood": (160, 192),
    "endoscopy": (200, 192), "brain_mr": (160, 192),
}  # fmt: skip
#: What every frontal chest film shows, in the phantom's words. Without them the score would learn that a real film
#: shows lungs and nothing else, since no other box was ever drawn on one.
ANATOMY = (
    "heart", "spine", "trachea", "aortic arch", "thorax", "ribs", "left lung", "right lung", "left clavicle",
    "right clavicle", "left hemidiaphragm", "right hemidiaphragm", "left upper zone", "left middle zone",
    "left lower zone", "right upper zone", "right middle zone", "right lower zone",
)  # fmt: skip
#: NIH's names to the phantom's. They tell whether a phrase is true of a real film; no film here has a finding's box.
FINDINGS = {
    "Effusion": "pleural effusion", "Atelectasis": "atelectasis", "Consolidation": "consolidation",
    "Edema": "pulmonary edema", "Nodule": "nodule", "Mass": "mass", "Pneumothorax": "pneumothorax",
    "Cardiomegaly": "cardiomegaly",
}  # fmt: skip
#: Set to (pictures made of each case, family of phantoms, words, whether the annotation names all of its vocabulary).
REAL: Mapping[str, tuple[int, str, Mapping[str, Sequence[str]], bool]] = {
    "covid-cc-by": (4, "chest_film", {}, False),
    "cbc": (2, "blood", CELLS, True),
    "nih-cxr14": (1, "chest_film", {}, True),
}


@dataclass(frozen=True)
class GroundRecipe:
    """Everything that decides the result.

    Args:
        net: Arguments of `GroundNet`.
        steps: Optimiser steps.
        batch: Pairs in a step.
        learning_rate: Peak rate.
        contrast: What TaCo's weight rises to.
        real: Share of the batches' pictures that are real, in equal parts from each set.
        phantoms: Factor on the numbers of `STUDIES`.
        seed: Seed of phantoms, crops and every draw.
    """

    net: Mapping[str, Any] = field(default_factory=lambda: {"dim": 128, "layers": 3})
    steps: int = 2400
    batch: int = 16
    learning_rate: float = 1.5e-3
    contrast: float = 0.5
    real: float = 0.36
    phantoms: float = 1.0
    seed: int = 7


def train_ground(
    nano: Path, data: Path, out: Path, recipe: GroundRecipe | None = None, *, device: str = "cpu",
    seconds: float | None = None, progress: Report = print,
) -> dict[str, Any]:  # fmt: skip
    """Train nano's box head; write `head-ground.safetensors` and its figures, `head-ground.json`, into a folder.

    Args:
        nano: Nano's model folder.
        data: Folder with the open sets.
        out: Where the two files go.
        recipe: The recipe.
        device: torch device.
        seconds: Stop training after so much wall time.
        progress: Where lines about progress go.

    Returns:
        The figures, on cases that neither nano nor the head was trained on.
    """
    recipe, started = recipe or GroundRecipe(), time.monotonic()
    base = Nano(nano, device)
    held = frozenset(json.loads((nano / "held_out.json").read_text("utf-8")))
    scenes = list(_phantom_scenes(recipe.seed, recipe.phantoms))
    cases = [c for c in collect(data, list(REAL)) if c.id not in held]
    rng = np.random.default_rng((recipe.seed, 11))
    scenes = [cropped(s, rng) if rng.random() < 0.5 else s for s in scenes]
    for case in cases:
        scene, copies = _real_scene(case), REAL[case.source.dataset][0]
        scenes += [scene, *(cropped(scene, rng) for _ in range(copies - 1))]
    progress(f"{len(scenes)} pictures after {time.monotonic() - started:.0f} s; computing maps")
    learned = GroundingData(base, scenes, _weights(scenes, recipe.real))
    progress(f"{len(learned.phrases)} phrases, maps after {time.monotonic() - started:.0f} s")
    torch.manual_seed(recipe.seed)
    net = GroundNet(**recipe.net).to(device)
    plan = Plan(
        recipe.steps, recipe.learning_rate, weight_decay=1e-4, warmup=50, average=0.998, seed=recipe.seed, every=200
    )
    step = grounding_step(net, learned, steps=recipe.steps, batch=recipe.batch, contrast=recipe.contrast)
    history = train_loop(net, step, plan, seconds=seconds, job=Job(on_note=progress), device=device)
    head = GroundHead(net, {"net": dict(recipe.net), "base_fingerprint": base.fingerprint})
    out.mkdir(parents=True, exist_ok=True)
    head.save(out / FILE)
    figures = {
        "phantoms": sum(s.group in STUDIES for s in scenes), "real_cases": len(cases), "steps": history.step,
        "seconds": round(time.monotonic() - started), "bytes": (out / FILE).stat().st_size,
        "held_out": measure_ground(base, GroundHead.load(out / FILE, base), data, held, learned, recipe),
    }  # fmt: skip
    (out / "head-ground.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def measure_ground(
    base: Nano, head: GroundHead, data: Path, held: frozenset[str], learned: GroundingData, recipe: GroundRecipe
) -> dict[str, Any]:
    """Figures on new phantoms and on held-out real cases, by study and set, and for each name in it.

    `mean_box` is what the mean box of the same name in training would get: what is known without looking.
    """
    fresh = list(_phantom_scenes(recipe.seed + 1, 0.15 * recipe.phantoms))
    real = [_real_scene(c) for c in collect(data, list(REAL)) if c.id in held]
    test = GroundingData(base, [*fresh, *real], also=swap_sides)
    means: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for scene in learned.scenes:
        for target in scene.targets:
            means[scene.family, target.name].append(target.box)
    blind = {key: np.mean(boxes, 0) for key, boxes in means.items()}
    out: dict[str, Any] = {}
    for group in sorted({s.group for s in test.scenes}):
        pairs = [(i, t) for i, s in enumerate(test.scenes) if s.group == group for t in s.targets]
        if pairs:
            out[group] = _group_figures(head.net, test, pairs, blind, recipe.seed)
    films = [i for i, s in enumerate(test.scenes) if s.group == "nih-cxr14"]
    out["nih-cxr14"] = {name: _finding(head.net, test, films, name) for name in FINDINGS.values()}
    return out


def _finding(net: GroundNet, test: GroundingData, films: Sequence[int], name: str) -> dict[str, Any]:
    """AUROC of the score for a finding against the mined labels of real films."""
    y = np.asarray([any(n == name for n, _ in test.scenes[i].shown) for i in films], np.int64)
    if min(y.sum(), (1 - y).sum()) < 2 or name not in test.number:
        return {"n": len(y), "present": int(y.sum())}
    found = delong(y, test.answers(net, films, [name] * len(films)).there)
    limits = [found.interval.low, found.interval.high] if found.interval else []
    return {"n": len(y), "present": int(y.sum()), "auroc": [round(float(v), 4) for v in (found.auc, *limits)]}


def _group_figures(
    net: GroundNet, test: GroundingData, pairs: Sequence[tuple[int, Target]],
    blind: Mapping[tuple[str, str], npt.NDArray[np.float64]], seed: int,
) -> dict[str, Any]:  # fmt: skip
    pictures, said = [i for i, _ in pairs], [t.words[0] for _, t in pairs]
    truth = np.asarray([t.box for _, t in pairs], np.float32)
    got = test.answers(net, pictures, said, truth, seed)
    iou = box_ious(got.boxes, truth)
    guess = [blind.get((test.scenes[i].family, t.name), np.zeros(4)) for i, t in pairs]
    groups = np.asarray([test.scenes[i].patient for i in pictures])
    names = np.asarray([t.name for _, t in pairs])

    def row(at: npt.NDArray[np.int64]) -> dict[str, Any]:
        by = {"mean_iou": iou[at], "accuracy_50": (iou[at] >= 0.5).astype(float)}
        figures = {k: bootstrap_mean(v, groups=groups[at], resamples=1000, seed=seed) for k, v in by.items()}
        return {
            "n": len(at), "patients": len(set(groups[at])),
            **{k: [round(v, 4) for v in (b.estimate, b.interval.low, b.interval.high)] for k, b in figures.items()},
            "mean_box": round(float(box_ious(np.asarray(guess, np.float32), truth)[at].mean()), 4),
        }  # fmt: skip

    out = {"all": row(np.arange(len(pairs))), "region_of_six": round(float(got.found.mean()), 4)}
    out |= {"names": {n: row(np.flatnonzero(names == n)) for n in sorted(set(names))}}
    sided = [k for k, w in enumerate(said) if swap_sides(w) != w]
    if sided:
        other = test.answers(net, [pictures[k] for k in sided], [swap_sides(said[k]) for k in sided])
        moved = box_ious(got.boxes[sided], other.boxes) < 0.3
        out["moves_when_side_swapped"] = {"n": len(sided), "share": round(float(moved.mean()), 4)}
    out["presence"] = _presence(net, test, pictures, got.there, seed)
    return out


def _presence(
    net: GroundNet, test: GroundingData, pictures: Sequence[int], there: npt.NDArray[np.float32], seed: int
) -> dict[str, Any]:
    """AUROC of the score: true phrases against as many that are absent."""
    rng = np.random.default_rng((seed, 13))
    asked = [(i, test.phrases[int(rng.choice(test.absent[i]))]) for i in pictures if len(test.absent[i])]
    if min(len(asked), len(there)) < 2:
        return {}
    absent = test.answers(net, [i for i, _ in asked], [w for _, w in asked]).there
    y = np.concatenate([np.ones(len(there)), np.zeros(len(absent))])
    found = delong(y, np.concatenate([there, absent]))
    limits = [found.interval.low, found.interval.high] if found.interval else []
    return {
        "auroc": [round(float(v), 4) for v in (found.auc, *limits)], "present": len(there), "absent": len(absent),
        "true_called_here": round(float((there >= 0.5).mean()), 4),
        "absent_called_here": round(float((absent >= 0.5).mean()), 4),
    }  # fmt: skip


def _phantom_scenes(seed: int, factor: float) -> Iterator[Scene]:
    rng = np.random.default_rng((seed, 17))
    for study, (n, size) in STUDIES.items():
        config = PhantomConfig(
            seed=seed, studies={study: 1.0}, size=size, questions=False, geometries=("mask",), polygenic=0,
            risk_polygenic=0.0, difficulty=0.2, uncertain=0.0,
        )  # fmt: skip
        for case in Phantom(config).cases(max(1, round(n * factor))):
            yield scene_of(case, index=_slice(case, rng), group=study, family=study)


def _slice(case: Case, rng: np.random.Generator) -> int | None:
    """A slice of a volume's middle half, in every other volume one through a lesion; None of a picture."""
    if case.images[0].kind == "2d":
        return None
    lesions = [r.geometry for r in case.regions if r.granularity == "lesion" and r.image == 0]
    masks = [m.to_array() for m in lesions if isinstance(m, Mask)]
    if masks and rng.random() < 0.5:
        through = np.flatnonzero(masks[rng.integers(len(masks))].any((1, 2)))
        return int(rng.choice(through))
    depth = len(case.images[0].pixels())
    return int(rng.integers(depth // 4, max(depth // 4 + 1, 3 * depth // 4)))


def _real_scene(case: Case) -> Scene:
    _, family, words, closed = REAL[case.source.dataset]
    scene = scene_of(case, names=words, group=case.source.dataset, family=family, closed=closed)
    if family != "chest_film":
        return scene
    boxed = {t.name for t in scene.targets}
    there = [name for label, name in FINDINGS.items() if case.label(label) == 1]
    # A finding is drawn as often as all of anatomy together: there are many more of those.
    named = (*(a for a in ANATOMY if a not in boxed), *there * (len(ANATOMY) // max(len(there), 1)))
    shown = scene.shown | {(a, a.split()[0] if a.split()[0] in ("left", "right") else "") for a in ANATOMY}
    return dataclasses.replace(scene, named=named, shown=shown | {(name, "") for name in there})


def _weights(scenes: Iterable[Scene], real: float) -> npt.NDArray[np.float32]:
    """Chances so that real sets share `real` equally and phantoms the rest."""
    groups = [s.group for s in scenes]
    number = {g: groups.count(g) for g in set(groups)}
    phantoms = sum(n for g, n in number.items() if g in STUDIES)
    chance = {g: real / len(REAL) / n if g in REAL else (1 - real) / phantoms for g, n in number.items()}
    return np.asarray([chance[g] for g in groups], np.float32)
