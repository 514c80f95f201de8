"""How the head that finds every instance is made: pairs of a picture and a name, present or absent.

Trained on part `nano` of the open sets; thresholds, and which names may draw a box at all, are chosen on part
`validation`, where its figures stand too; part `test` is read by `measure_boxes` alone.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.errors import BadInputError, MissingError, VesaliusError
from vesalius.job import Job
from vesalius.losses.boxes import overlap
from vesalius.losses.heat import centre_focal, centre_heat
from vesalius.models import pick_device
from vesalius.models.nano.detect import FIGURES, FILE, DetectHead
from vesalius.models.nano.model import Nano
from vesalius.nn.dense_boxes import DenseBoxes
from vesalius.sources.open_sets.splits import Part, part_of
from vesalius.training.loop import Plan, train_loop
from vesalius.training.nano.instances_measure import Blind, choose, figures_of, one_box_of
from vesalius.training.nano.marked import POINT_SIDE, SETS, Scene, Scenes, absent_from, cut_out, scene_of
from vesalius.training.nano.pictures import collect


@dataclass(frozen=True)
class BoxRecipe:
    """How the head is trained.

    Args:
        dim: Channels of the net.
        steps: Optimiser steps.
        batch: Pairs of picture and name in a step.
        absent: Share of pairs whose name is not in the picture.
        learning_rate: Peak rate.
        crops: Cut-outs of each training picture beside the whole one.
        seed: Seed of everything.
    """

    dim: int = 64
    steps: int = 500
    batch: int = 16
    absent: float = 0.25
    learning_rate: float = 2e-3
    crops: int = 1
    seed: int = 0


def box_step(
    net: DenseBoxes, data: Scenes, recipe: BoxRecipe
) -> Callable[[int, np.random.Generator], dict[str, Tensor]]:
    """One step: pairs of picture and name, present or absent; centres, boxes and presence."""
    sets = np.asarray([s.dataset for s in data.scenes])
    absent = absent_from(data.scenes, data.names)
    asks = np.asarray([bool(absent[i]) or any(map(len, s.boxes.values())) for i, s in enumerate(data.scenes)])
    pools = [(share, np.flatnonzero((sets == n) & asks)) for n, share in SETS.items() if ((sets == n) & asks).any()]
    chance = np.asarray([share for share, _ in pools])

    def step(_: int, rng: np.random.Generator) -> dict[str, Tensor]:
        index = np.asarray(
            [rng.choice(pools[k][1]) for k in rng.choice(len(pools), recipe.batch, p=chance / chance.sum())]
        )
        names = []
        for i in index.tolist():
            mine = [n for n, b in data.scenes[i].boxes.items() if len(b)]
            missing = bool(absent[i]) and (not mine or rng.random() < recipe.absent)
            names.append(str(rng.choice(absent[i] if missing else mine)))
        words = torch.tensor([rng.choice(data.rows[n]) for n in names])
        found = net(net.fuse(data.maps_of(index)), data.vectors[words])
        height, width = found.centre.shape[1:]
        scale = found.boxes.new_tensor([width, height, width, height])
        truth = [torch.from_numpy(data.scenes[i].boxes.get(n, np.zeros((0, 4), np.float32))).to(data.device) * scale
                 for i, n in zip(index.tolist(), names, strict=True)]  # fmt: skip
        heat = torch.stack([centre_heat(t, height, width) for t in truth])
        there = found.there.new_tensor([float(len(t) > 0) for t in truth])
        return {
            "centre": centre_focal(found.centre, heat),
            "box": _box_loss(found.boxes, truth),
            "there": F.binary_cross_entropy_with_logits(found.there, there),
        }

    return step


def _box_loss(boxes: Tensor, truth: Sequence[Tensor]) -> Tensor:
    """`mean (1 - GIoU)` over the cells within a fifth of an instance's sides of its centre, its own at least."""
    losses = []
    height, width = boxes.shape[1:3]
    for found, true in zip(boxes, truth, strict=True):
        if not len(true):
            continue
        middle, size = (true[:, :2] + true[:, 2:]) / 2, true[:, 2:] - true[:, :2]
        y = torch.arange(height, device=boxes.device)[:, None, None] + 0.5
        x = torch.arange(width, device=boxes.device)[None, :, None] + 0.5
        reach = (size * 0.2).clamp(min=0.51)
        near = ((x - middle[:, 0]).abs() <= reach[:, 0]) & ((y - middle[:, 1]).abs() <= reach[:, 1])
        rows, columns, which = torch.nonzero(near, as_tuple=True)
        _, giou = overlap(found[rows, columns], true[which])
        losses.append(1 - giou)
    return torch.cat(losses).mean() if losses else boxes.sum() * 0


def train_boxes(
    nano: Path, data: Path, out: Path, recipe: BoxRecipe, job: Job, *, seconds: float | None = None,
    resume: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Train the head; write `head-boxes.safetensors` and its figures, `head-boxes.json`, into a folder.

    Args:
        nano: nano's model folder.
        data: Folder with the open sets.
        out: Where the two files go.
        recipe: The recipe.
        job: Told how it goes.
        seconds: Stop training after so much wall time.
        resume: Go on from a checkpoint in `out/work/boxes`.

    Returns:
        The figures, on part `validation`.
    """
    started, base = time.monotonic(), Nano(nano, pick_device(job.device))
    parts = _scenes(data, ("nano", "validation"), job)
    rng = np.random.default_rng((recipe.seed, 11))
    # Sets of points show many hundreds of cells as they are.
    few = [s for s in parts["nano"] if s.dataset not in POINT_SIDE]
    learned = Scenes(base, [*parts["nano"], *(cut_out(s, rng) for s in few for _ in range(recipe.crops))])
    job.note(
        f"{len(parts['nano'])} pictures, {len(learned.scenes)} with cut-outs, {len(learned.names)} names; "
        f"maps after {time.monotonic() - started:.0f} s"
    )
    torch.manual_seed(recipe.seed)
    net = DenseBoxes(dim=recipe.dim).to(base.device)
    plan = Plan(
        recipe.steps, recipe.learning_rate, weight_decay=1e-3, warmup=50, average=0.995,
        weights={"centre": 1.0, "box": 2.0, "there": 0.5}, seed=recipe.seed, every=50,
    )  # fmt: skip
    step = box_step(net, learned, recipe)
    history = train_loop(net, step, plan, seconds=seconds, work=out / "work" / "boxes", resume=resume, job=job)
    blind = Blind.of(parts["nano"])
    chosen_on = Scenes(base, parts["validation"], learned.names)
    config: dict[str, Any] = {
        "net": {"dim": recipe.dim}, "base_fingerprint": base.fingerprint,
        "wordings": [n for n, _ in learned.wordings], "names": choose(net, chosen_on, blind),
        "blind": blind.to_dict(),
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    DetectHead(net, learned.vectors, config).save(out / FILE)
    head = DetectHead.load(out / FILE, base)  # as it ships
    figures = {
        "recipe": asdict(recipe), "pictures": len(parts["nano"]), "steps": history.step,
        "seconds": round(time.monotonic() - started), "bytes": (out / FILE).stat().st_size, "names": config["names"],
        "validation": figures_of(head.net, chosen_on, blind, config["names"], one_box_of(base)),
    }  # fmt: skip
    (out / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def measure_boxes(folder: Path, data: Path, job: Job) -> dict[str, Any]:
    """Figures of a folder's head on part `test`, put beside those on part `validation`.

    Args:
        folder: nano's model folder with the head.
        data: Folder with the open sets.
        job: Told how it goes.

    Raises:
        MissingError: No such head was trained there.
    """
    if not ((folder / FILE).is_file() and (folder / FIGURES).is_file()):
        raise MissingError("no trained head to measure", item=str(folder / FILE), fix="run it without --card-only")
    base = Nano(folder, pick_device(job.device))
    head = DetectHead.load(folder / FILE, base)
    names = head.config["names"]
    data_of = Scenes(base, _scenes(data, ("test",), job)["test"], sorted(names))
    figures: dict[str, Any] = json.loads((folder / FIGURES).read_text("utf-8"))
    blind = Blind.from_dict(head.config["blind"])
    figures["held_out"] = figures_of(head.net, data_of, blind, names, one_box_of(base))
    (folder / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return figures


def _scenes(data: Path, parts: Sequence[Part], job: Job) -> dict[Part, list[Scene]]:
    """Scenes of the wanted parts.

    Raises:
        BadInputError: A part has none.
    """
    found: dict[Part, list[Scene]] = defaultdict(list)
    for case in job.progress(collect(data, list(SETS)), what="reading boxes"):
        if part_of(case) not in parts:
            continue
        try:
            scene = scene_of(case)
        except VesaliusError as error:
            job.refuse(case.id, error)
            continue
        if scene is not None:
            found[part_of(case)].append(scene)
    for part in parts:
        if not found[part]:
            raise BadInputError("no picture with a box, a mask or points", item=f"part {part}")
    return found
