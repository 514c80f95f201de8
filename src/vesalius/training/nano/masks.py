"""nano's mask head: trained on phantoms and on the open sets' masks, measured on patients that nano never saw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vesalius.cases import Case
from vesalius.cases.geometry import Mask
from vesalius.errors import MissingError
from vesalius.job import Job
from vesalius.metrics.segmentation.masks import dice as dice_of
from vesalius.metrics.statistics.bootstrap import bootstrap_mean
from vesalius.models.nano.model import Nano
from vesalius.models.nano.segment import FILE, SIDE, load_segmenter, new_head, save_head
from vesalius.models.promptable import PromptSegmenter
from vesalius.models.protocols import Prompt
from vesalius.sources.open_sets.readers import read_layout
from vesalius.sources.phantom import Phantom, PhantomConfig
from vesalius.sources.pseudo import granules
from vesalius.training.clicks import error_clicks, first_click
from vesalius.training.interactive import FOCAL, Targets, gather, interactive_step
from vesalius.training.loop import Plan, train_loop
from vesalius.training.nano.heads_card import SEGMENT_FIGURES, record

if TYPE_CHECKING:
    import numpy.typing as npt

#: Real sets with masks, and how many slices of a volume are used.
MASKED = {"chase-db1": 1, "hippocampus": 4, "covid-cc-by": 1}
#: Share of a batch that comes from each kind of target.
SHARES = {"phantom": 0.5, "unnamed": 0.2, "chase-db1": 0.1, "hippocampus": 0.1, "covid-cc-by": 0.1}
#: Real sets without masks: their unnamed regions teach what real texture looks like. Pictures taken of each.
TEXTURE = {"busi": 60, "isic2017": 80, "nih-cxr14": 80, "brca-m2c": 30, "cbc": 40}


@dataclass(frozen=True)
class HeadRecipe:
    """How the head is trained.

    Args:
        phantoms: Phantom cases of all studies.
        small: Steps at half the side, which are four times cheaper and teach what prompts mean.
        large: Steps at the full side.
        batch: Targets of a step.
        learning_rate: Peak rate.
        seed: Seed of everything.
    """

    phantoms: int = 900
    small: int = 1800
    large: int = 600
    batch: int = 16
    learning_rate: float = 4e-3
    seed: int = 0


def _held(out: Path) -> frozenset[str]:
    """Ids of cases that nothing of nano is trained on."""
    return frozenset(json.loads((out / "held_out.json").read_text("utf-8")))


def _real(data: Path, name: str, held: frozenset[str], *, test: bool) -> list[Case]:
    if not (data / name).is_dir():
        raise MissingError("training set is not there", item=str(data / name), fix="give the folder that holds it")
    return [c for c in read_layout(name, data / name) if (c.id in held) == test]


def train_masks(
    data: Path, out: Path, recipe: HeadRecipe | None = None, *, device: str = "cpu", seconds: float | None = None,
    say: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Train the head and write it beside the tower.

    Args:
        data: Folder with the open sets.
        out: nano's model folder.
        recipe: How.
        device: torch device.
        seconds: Stop each phase after so much time.
        say: Takes lines about progress.
    """
    recipe, base, held = recipe or HeadRecipe(), Nano(out, device), _held(out)
    torch.manual_seed(recipe.seed)
    head = new_head()
    for side, steps, rate in (
        (SIDE // 2, recipe.small, recipe.learning_rate), (SIDE, recipe.large, recipe.learning_rate / 2)
    ):  # fmt: skip
        cases = _training_cases(data, held, recipe, side)
        targets = gather(cases, base, side, unnamed=partial(_coarse, step=2 * side // SIDE), slices=3, most=10,
                         seed=recipe.seed)  # fmt: skip
        rows = np.arange(len(targets))
        say(f"{len(targets)} targets in {len(targets.groups)} pictures at {side} px")
        odds = _odds(targets, cases)
        step = interactive_step(head, targets, rows, batch=recipe.batch, rounds=3, odds=odds, device=base.device)
        plan = Plan(
            steps=steps, learning_rate=rate, warmup=50, average=0.99, seed=recipe.seed,
            weights={"focal": FOCAL},
        )  # fmt: skip
        train_loop(head, step, plan, seconds=seconds, job=Job(on_note=say), device=base.device)
    save_head(head, out / FILE, base)
    record(out)
    return out / FILE


def _coarse(view: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.int64]:
    """Unnamed regions of a picture at every `step`-th pixel: they have the same shapes, and cost a fraction."""
    return granules(view[:, ::step, ::step])


def _odds(targets: Targets, cases: Sequence[Case]) -> npt.NDArray[np.float64]:
    """Chances so that phantoms' named masks, unnamed regions and each real set with masks have their `SHARES`."""
    sets = {c.group: c.source.dataset for c in cases}
    kinds = [
        "unnamed" if not name else kind if (kind := sets[targets.groups[p]]) in MASKED else "phantom"
        for name, p in zip(targets.names, targets.picture, strict=True)
    ]
    number = Counter(kinds)
    return np.asarray([SHARES[k] / number[k] for k in kinds])


def _training_cases(data: Path, held: frozenset[str], recipe: HeadRecipe, side: int) -> list[Case]:
    rng = np.random.default_rng(recipe.seed)
    config = PhantomConfig(
        seed=recipe.seed + 4_900, size=side, size_3d=64, geometries=("mask",), questions=False, prevalence_scale=1.5
    )
    cases = list(Phantom(config).cases(recipe.phantoms))
    for name in MASKED:
        cases += _real(data, name, held, test=False)
    for name, n in TEXTURE.items():
        found = _real(data, name, held, test=False)
        cases += [found[i].replace(regions=()) for i in rng.permutation(len(found))[:n]]
    return cases


def measure_masks(
    data: Path, out: Path, recipe: HeadRecipe | None = None, *, clicks: int = 5, device: str = "cpu"
) -> dict[str, Any]:
    """Dice on held-out real cases at the picture's own size, after a name, a box, and each click, with intervals.

    Args:
        data: Folder with the open sets.
        out: nano's model folder, with the head; the figures go into `head-segment.json` there.
        recipe: What the head was trained with, for the record.
        clicks: Clicks of a session.
        device: torch device.
    """
    held, seed = _held(out), 0
    segmenter = load_segmenter(out / FILE, Nano(out, device))
    figures: dict[str, Any] = {}
    for name in MASKED:
        rows: dict[str, dict[str, list[float]]] = {}
        groups: dict[str, list[str]] = {}
        for case in _real(data, name, held, test=True):
            for label, index, truth in _targets(case):
                rng = np.random.default_rng((seed, len(groups.get(label, []))))
                scores = _session(segmenter, case, label, index, truth, clicks, rng)
                groups.setdefault(label, []).append(case.group)
                for key, value in scores.items():
                    rows.setdefault(label, {}).setdefault(key, []).append(value)
        for label, by in rows.items():
            figures[f"{name}: {label}"] = {
                "n": len(groups[label]), "patients": len(set(groups[label])),
                **{key: _interval(values, groups[label]) for key, values in by.items()},
            }  # fmt: skip
    text = json.dumps({"recipe": asdict(recipe or HeadRecipe()), "held_out": figures}, indent=1)
    (out / SEGMENT_FIGURES).write_text(text + "\n", "utf-8")
    return figures


def _targets(case: Case) -> list[tuple[str, int, npt.NDArray[np.bool_]]]:
    """Each named mask of the first annotator; of a volume the slice where it is largest."""
    out: dict[str, tuple[str, int, npt.NDArray[np.bool_]]] = {}
    for region in case.regions:
        if not isinstance(region.geometry, Mask) or region.label in out:
            continue
        array = region.geometry.to_array()
        index = int(array.sum((1, 2)).argmax()) if array.ndim == 3 else 0
        flat = array[index] if array.ndim == 3 else array
        if flat.any():
            out[region.label] = (region.label, index, flat)
    return list(out.values())


def _session(
    segmenter: PromptSegmenter, case: Case, label: str, index: int, truth: npt.NDArray[np.bool_], clicks: int,
    rng: np.random.Generator,
) -> dict[str, float]:  # fmt: skip
    encoded = segmenter.encode(case.images[0], index)
    height, width = truth.shape
    box = Mask.from_array(truth).box()
    scores = {
        "name": float(dice_of(segmenter.segment(encoded, Prompt(text=label)).mask, truth)),
        "box": float(dice_of(segmenter.segment(encoded, Prompt(box=box)).mask, truth)),
    }
    points: list[tuple[float, float, int]] = []
    previous, shown = None, np.zeros_like(truth)
    for turn in range(clicks):
        new = [first_click(truth, rng)] if turn == 0 else error_clicks(shown, truth, 1, rng)
        points += [(x * width, y * height, kind) for x, y, kind in new]
        found = segmenter.segment(encoded, Prompt(points=tuple(points), previous=previous))
        previous, shown = found.logits, found.mask
        scores[f"click {turn + 1}"] = float(dice_of(shown, truth))
    return scores


def _interval(values: Sequence[float], groups: Sequence[str]) -> list[float]:
    drawn = bootstrap_mean(np.asarray(values), groups=groups, seed=0)
    return [round(float(np.mean(values)), 4), round(drawn.interval.low, 4), round(drawn.interval.high, 4)]
