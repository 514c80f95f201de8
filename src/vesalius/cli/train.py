"""`vesalius train nano`: rebuild the shipped model."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from vesalius.cli.common import Run, add_flags
from vesalius.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", choices=("nano",), help="what to train")
    parser.add_argument("--data", type=Path, help="folder with the open training sets, one folder each")
    parser.add_argument("--steps", type=int, help="one run of this many steps (default: the recipe's runs)")
    parser.add_argument(
        "--card-only", action="store_true", help="do not train: measure the model in --out again and rewrite its card"
    )
    add_flags(parser, "--device", "--seed", "--resume", "--dry-run")


def run(options: argparse.Namespace, run: Run) -> None:
    """Train and measure."""
    from vesalius.training.nano import Recipe

    if options.data is None:
        raise UsageError("training needs data", fix="give --data FOLDER")
    if options.out is None:
        raise UsageError("training needs a folder for the model", fix="give --out FOLDER")
    recipe = Recipe(seed=options.seed)
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, steps=options.steps, also=())
    if options.dry_run:
        run.result = recipe.to_dict()
        for key, value in recipe.to_dict().items():
            run.say(f"{key:<14} {value}")
        return
    from vesalius.models import pick_device
    from vesalius.training.nano import train
    from vesalius.training.nano_card import measure, write_card

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
