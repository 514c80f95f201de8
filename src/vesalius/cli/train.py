"""`vesalius train NAME`: rebuild the shipped model, or train a published system on your cases."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", help="nano, nano-heads, or a system of `vesalius systems --working`")
    parser.add_argument(
        "--data", type=Path, help="cases to train on (for nano: folder with the open training sets, one folder each)"
    )
    parser.add_argument("--target", default="", help="label that a classifier learns (default: the label `class`)")
    parser.add_argument("--steps", type=int, help="optimiser steps (default: the recipe's)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="what a system takes beside cases, such as concepts=FILE; may be repeated",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, help="stop a system's training after so much time")
    parser.add_argument("--layout", default="", help="layout of --data (default: found out)")
    parser.add_argument(
        "--card-only",
        action="store_true",
        help="nano, nano-heads: do not train; measure what is in --out, rewrite its card",
    )
    add_flags(parser, "--device", "--seed", "--resume", "--dry-run", "--limit", "--workers", "--online")


def run(options: argparse.Namespace, run: Run) -> None:
    """Train."""
    if options.data is None:
        raise UsageError("training needs data", fix="give --data FOLDER")
    if options.out is None:
        raise UsageError("training needs a folder for the model", fix="give --out FOLDER")
    if options.steps is not None and options.steps < 1:
        raise UsageError("number is too small", item=f"--steps {options.steps}", fix="give 1 or more")
    if options.name == "nano":
        if options.settings:
            raise UsageError("nano's recipe takes no --set", item=", ".join(options.settings))
        _nano(options, run)
    elif options.name == "nano-heads":
        _nano_heads(options, run)
    else:
        _system(options, run)


def _nano(options: argparse.Namespace, run: Run) -> None:
    from vesalius.training.nano.tower import Recipe

    recipe = Recipe(seed=options.seed)
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, steps=options.steps, also=())
    if options.dry_run:
        run.result = recipe.to_dict()
        for key, value in recipe.to_dict().items():
            run.say(f"{key:<14} {value}")
        return
    from vesalius.models import pick_device
    from vesalius.training.nano.card import measure, write_card
    from vesalius.training.nano.tower import train

    if not options.card_only:
        train(
            options.data,
            options.out,
            recipe,
            device=pick_device(options.device),
            resume=options.resume,
            progress=run.note,
        )
    figures = measure(options.data, options.out, progress=run.note)
    card = write_card(options.out, figures)
    run.result = figures
    run.say(card)


def _nano_heads(options: argparse.Namespace, run: Run) -> None:
    import shutil

    from vesalius.models import pick_device
    from vesalius.models.manifest import MANIFEST, Manifest
    from vesalius.models.store import SHIPPED
    from vesalius.training.nano.boxes import GroundRecipe, train_ground
    from vesalius.training.nano.card import write_card
    from vesalius.training.nano.heads_card import record
    from vesalius.training.nano.masks import HeadRecipe, measure_masks, train_masks

    masks, boxes = HeadRecipe(seed=options.seed), GroundRecipe()
    if options.dry_run:
        run.result = {"segment": vars(masks), "ground": vars(boxes)}
        for head, recipe in run.result.items():
            for key, value in recipe.items():
                run.say(f"{head:<8} {key:<14} {value}")
        return
    out = options.out
    if not (out / MANIFEST).is_file():
        run.note(f"{out}: no model there; starting from the shipped nano")
        shutil.copytree(SHIPPED / "nano", out, dirs_exist_ok=True)
    device = pick_device(options.device)
    if not options.card_only:
        train_masks(options.data, out, masks, device=device, seconds=options.seconds, say=run.note)
        train_ground(out, options.data, out, boxes, device=device, seconds=options.seconds, progress=run.note)
        record(out)
    run.result = {"segment": measure_masks(options.data, out, masks, device=device)}
    run.say(write_card(out, Manifest.read(out).notes["figures"]))


def _system(options: argparse.Namespace, run: Run) -> None:
    from vesalius.cli.sources import open_cases
    from vesalius.job import Job
    from vesalius.systems import open_recipe
    from vesalius.systems.frame.budget import Budget
    from vesalius.systems.frame.model import save_model

    system = open_recipe(options.name)
    settings = _settings(options.settings, system.name, system.options)
    if options.target:
        settings["target"] = options.target
    cases = list(open_cases(options.data, options, run, layout=options.layout))
    if options.dry_run:
        run.result = {"system": system.name, "claim": system.claim, "cases": len(cases)}
        run.say(f"{system.name} on {len(cases)} cases: {system.claim}")
        return
    job = Job(device=options.device, seed=options.seed, online=run.online, on_note=run.note)
    budget = Budget(options.steps or 0, options.seconds, options.out / "work", options.resume)
    model = system.train(cases, budget, job, **settings)
    manifest = save_model(model, options.out, {"cases": len(cases), "seed": options.seed})
    run.result = {"model": str(options.out), "fingerprint": manifest.fingerprint, "cases": len(cases)}
    run.say(f"{system.name} trained on {len(cases)} cases: use it as --model dir:{options.out}")


def _settings(given: list[str], system: str, known: Mapping[str, str]) -> dict[str, str]:
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
