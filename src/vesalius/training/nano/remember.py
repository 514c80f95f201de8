"""Write into a trained nano's folder which pictures it was trained on: `python -m vesalius.training.nano.remember`.

`python -m vesalius.training.nano.remember MODEL_FOLDER DATA_FOLDER` reads the sets that the manifest says the model was
trained on, less the cases of `held_out.json`, and writes `seen.safetensors` (see `vesalius.models.seen`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vesalius.cases import Case
from vesalius.errors import BadInputError
from vesalius.models.manifest import Manifest
from vesalius.models.seen import Seen
from vesalius.sources.open_sets.readers import read_layout


def trained_on(folder: Path, data: Path) -> list[Case]:
    """The cases that the model of a folder was trained on.

    Args:
        folder: Model folder with `model.json` and `held_out.json`.
        data: The open sets, one folder each.

    Raises:
        BadInputError: The sets at hand do not give the numbers of cases that the manifest states.
        MissingError: A set is not there.
    """
    held = frozenset(json.loads((folder / "held_out.json").read_text("utf-8")))
    cases: list[Case] = []
    for name, count in Manifest.read(folder).notes["trained_on"].items():
        mine = [c for c in read_layout(name, data / name) if c.id not in held]
        if len(mine) != count:
            raise BadInputError(
                "these are not the cases that the model was trained on",
                item=name,
                why=f"{len(mine)} cases are left once the held-out ones are gone, the manifest says {count}",
            )
        cases += mine
    return cases


def remember(folder: Path, data: Path) -> Seen:
    """Write the hashes of a model's training pictures into its folder, and give them."""
    seen = Seen.of(image for case in trained_on(folder, data) for image in case.images)
    seen.write(folder)
    return seen


if __name__ == "__main__":
    remember(Path(sys.argv[1]), Path(sys.argv[2]))
