"""`train`: rebuild the shipped model, or train a published system on your cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.errors import UsageError
from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb
from vesalius.verbs.frame.arguments import Cases
from vesalius.verbs.frame.results import hidden

if TYPE_CHECKING:
    from vesalius.cases import Case


@dataclass(frozen=True)
class Train(Args):
    """What to train, on what, for how long."""

    name: str = arg(
        "nano, nano-heads, nano-boxes, nano-masks, or a system of `vesalius systems --working`", positional=True
    )
    data: Cases | None = arg(
        "cases to train on (for nano: folder with the open training sets, one folder each)", None, metavar="PATH"
    )
    target: str = arg("label that a classifier learns (default: the label `class`)", "", metavar="NAME")
    steps: int | None = arg("optimiser steps (default: the recipe's)", None, metavar="N", low=1)
    seconds: float | None = arg(
        "stop the training of a system, nano-heads or nano-boxes after so much time", None, low=0, unit="s"
    )
    settings: tuple[str, ...] = arg(
        "what a system takes beside cases, such as concepts=FILE", (), flag="--set", metavar="NAME=VALUE"
    )
    layout: str = arg("layout of --data (default: found out)", "", metavar="NAME")
    limit: int | None = arg("use the first N cases only", None, metavar="N", low=1)
    card_only: bool = arg(
        "nano, nano-heads, nano-boxes, nano-masks: do not train; measure what is in --out, rewrite its card", False
    )
    resume: bool = arg("go on where an earlier run stopped", False)
    dry_run: bool = arg("say what would be done, and do nothing", False)


@dataclass(frozen=True)
class Trained(Result):
    """What was trained, or would be."""

    name: str
    model: str | None = None
    fingerprint: str | None = None
    cases: int | None = None
    claim: str | None = None
    recipe: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    card: str = hidden(default="")

    def lines(self) -> Iterator[str]:
        """What it is for, or what it would be made of."""
        if self.recipe is not None:
            for key, value in self.recipe.items():
                parts = value.items() if isinstance(value, Mapping) and self.name == "nano-heads" else [("", value)]
                for part, one in parts:
                    yield f"{key:<8} {part:<14} {one}" if part else f"{key:<14} {one}"
        elif self.card:
            yield self.card
        elif self.model is None:
            yield f"{self.name} on {self.cases} cases: {self.claim}"
        else:
            yield f"{self.name} trained on {self.cases} cases: use it as --model dir:{self.model}"


@verb("train", "learn", uses=("device", "seed", "workers", "online"), reads_only=True, long=True)
def train(args: Train, job: Job) -> Trained:
    """Train a model that ships or a published system."""
    if args.data is None:
        raise UsageError("training needs data", fix="give --data FOLDER")
    if args.out is None:
        raise UsageError("training needs a folder for the model", fix="give --out FOLDER")
    parts = {"nano": _nano, "nano-heads": _nano_heads, "nano-boxes": _nano_boxes, "nano-masks": _nano_masks}
    if args.name not in parts:
        return _system(args, job, args.data, args.out)
    if args.settings:
        raise UsageError(f"{args.name}'s recipe takes no --set", item=", ".join(args.settings))
    if not isinstance(args.data, Path):
        raise UsageError(f"{args.name} is trained on a folder of open sets", item="data")
    return parts[args.name](args, job, args.data, args.out)


def _nano(args: Train, job: Job, data: Path, out: Path) -> Trained:
    from vesalius.training.nano.build import Recipe, build

    recipe = Recipe()
    tower = dataclasses.replace(recipe.tower, seed=job.seed, steps=args.steps or recipe.tower.steps)
    recipe = dataclasses.replace(recipe, tower=tower)
    if args.dry_run:
        return Trained("nano", recipe=recipe.to_dict())
    from vesalius.training.nano.card import measure, write_card
    from vesalius.training.nano.remember import remember

    if not args.card_only:
        build(data, out, recipe, job, resume=args.resume)
        remember(out, data)
    figures = measure(data, out, recipe, job)
    return Trained("nano", str(out), figures=figures, card=write_card(out, figures))


def _nano_heads(args: Train, job: Job, data: Path, out: Path) -> Trained:
    from vesalius.models import pick_device
    from vesalius.models.manifest import Manifest
    from vesalius.models.nano import head_tower
    from vesalius.training.nano.boxes import GroundRecipe, train_ground
    from vesalius.training.nano.card import write_card
    from vesalius.training.nano.heads_card import record
    from vesalius.training.nano.masks import HeadRecipe, measure_masks, train_masks

    masks, boxes = HeadRecipe(seed=job.seed), GroundRecipe()
    if args.dry_run:
        return Trained("nano-heads", recipe={"segment": dict(vars(masks)), "ground": dict(vars(boxes))})
    _start_from_shipped(out, job)
    device = pick_device(job.device)
    if not args.card_only:
        (out / head_tower.FILE).unlink(missing_ok=True)  # both heads will stand on the model's own tower
        record(out)
        train_masks(data, out, masks, device=device, seconds=args.seconds, say=job.note)
        train_ground(out, data, out, boxes, device=device, seconds=args.seconds, progress=job.note)
        record(out)
    figures = {"segment": measure_masks(data, out, masks, device=device)}
    card = write_card(out, Manifest.read(out).notes["figures"])
    return Trained("nano-heads", str(out), figures=figures, card=card)


def _nano_boxes(args: Train, job: Job, data: Path, out: Path) -> Trained:
    from vesalius.models.manifest import Manifest
    from vesalius.training.nano.card import write_card
    from vesalius.training.nano.heads_card import record
    from vesalius.training.nano.instances import BoxRecipe, measure_boxes, train_boxes

    recipe = BoxRecipe(seed=job.seed)
    if args.steps is not None:
        recipe = dataclasses.replace(recipe, steps=args.steps)
    if args.dry_run:
        return Trained("nano-boxes", recipe=dict(vars(recipe)))
    if args.card_only:
        figures = measure_boxes(out, data, job)
    else:
        _start_from_shipped(out, job)
        figures = train_boxes(out, data, out, recipe, job, seconds=args.seconds, resume=args.resume)
    record(out)
    card = write_card(out, Manifest.read(out).notes["figures"])
    return Trained("nano-boxes", str(out), figures=figures, card=card)


def _start_from_shipped(out: Path, job: Job) -> None:
    """Put the shipped nano into a folder that holds no model."""
    import shutil

    from vesalius.models.manifest import MANIFEST
    from vesalius.models.store import SHIPPED

    if not (out / MANIFEST).is_file():
        job.note(f"{out}: no model there; starting from the shipped nano")
        shutil.copytree(SHIPPED / "nano", out, dirs_exist_ok=True)


def _nano_masks(args: Train, job: Job, data: Path, out: Path) -> Trained:
    from vesalius.training.nano.medsam import MedSamRecipe
    from vesalius.training.nano.medsam_figures import rebuild

    recipe = MedSamRecipe(seed=job.seed)
    if args.steps is not None:
        recipe = dataclasses.replace(recipe, decode=args.steps)
    if args.dry_run:
        return Trained("nano-masks", recipe=dict(vars(recipe)))
    figures = rebuild(data, out, recipe, resume=args.resume, card_only=args.card_only, job=job)
    return Trained("nano-masks", str(out), figures=figures, card=(out / "card.md").read_text("utf-8"))


def _system(args: Train, job: Job, data: Cases, out: Path) -> Trained:
    from vesalius.io.decode import decoded
    from vesalius.io.holding import hold
    from vesalius.sources.opening import open_cases
    from vesalius.systems import open_recipe
    from vesalius.systems.frame.budget import Budget
    from vesalius.systems.frame.model import save_model

    system = open_recipe(args.name)
    settings = _settings(args.settings, system.name, system.options)
    if args.target:
        settings["target"] = args.target
    opened = list(open_cases(data, job, layout=args.layout, limit=args.limit))
    if args.dry_run:
        return Trained(system.name, cases=len(opened), claim=system.claim)
    # A recipe looks at a picture again and again: it is given values that bounded children decoded once.
    cases = hold(job.progress(decoded(opened, job), len(opened), "reading"))
    budget = Budget(args.steps or 0, args.seconds, out / "work", args.resume)
    model = system.train(cases, budget, job, **settings)
    manifest = save_model(model, out, {"cases": len(cases), "seed": job.seed})
    _remember(out, cases, job)
    return Trained(system.name, str(out), manifest.fingerprint, len(cases))


def _remember(out: Path, cases: Sequence[Case], job: Job) -> None:
    """Leave short hashes of the training pictures in the model folder: no figure is computed on them unsaid."""
    import numpy as np

    from vesalius.io.decode import decode_cases
    from vesalius.models.seen import Seen, hashes, prefix

    read = decode_cases(cases, hashes, Job(workers=job.workers), need_image=False)
    found = {prefix(h) for item in read for image in item.results for h in image}
    Seen(np.asarray(sorted(found), np.uint64)).write(out)


def _settings(given: Sequence[str], system: str, known: Mapping[str, str]) -> dict[str, str]:
    """`--set` as a table.

    Raises:
        UsageError: One is not NAME=VALUE, or the system does not take it.
    """
    out: dict[str, str] = {}
    for item in given:
        name, sign, value = item.partition("=")
        if not sign or not value:
            raise UsageError("not a setting", item=f"--set {item}", fix="write NAME=VALUE")
        if name not in known:
            takes = "; ".join(f"{k}: {v}" for k, v in known.items()) or "nothing beside cases"
            raise UsageError("the system does not take this", item=f"{system}: {name}", why=f"it takes {takes}")
        out[name] = value
    return out
