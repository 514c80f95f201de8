"""The mask head that ships with nano: one small file beside the tower, which clicks, boxes and names steer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from vesalius.errors import BadInputError
from vesalius.models.backbone import Backbone
from vesalius.models.manifest import sha256
from vesalius.models.nano.head_tower import tower_of
from vesalius.models.promptable import PromptSegmenter
from vesalius.nn.promptable import PromptableHead

#: The head's file in a nano model folder. Heads do not change vectors, so they are no part of nano's fingerprint.
FILE = "head-segment.safetensors"
#: Length of a token, and the side of the square that pictures are squeezed to.
DIM, SIDE = 64, 256


def new_head() -> PromptableHead:
    """The head with untrained weights."""
    return PromptableHead(dim=DIM)


def save_head(head: PromptableHead, path: Path, base: Backbone) -> None:
    """Write weights in half precision, with what they belong to in the file's header."""
    weights = {k: v.detach().half().cpu().contiguous().clone() for k, v in head.state_dict().items()}
    config = {"dim": DIM, "side": SIDE, "base_fingerprint": base.fingerprint}
    save_file(weights, path, {"config": json.dumps(config, sort_keys=True)})
    path.chmod(0o644)  # safetensors writes for the owner alone


def load_segmenter(path: Path, base: Backbone) -> PromptSegmenter:
    """Read a head that `save_head` wrote, on the heads' own tower where one lies beside it.

    Raises:
        BadInputError: It is no head, or was trained on another tower.
    """
    try:
        base = tower_of(path.parent, base)
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})["config"])
        head = PromptableHead(dim=int(config["dim"]))
        head.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        side = int(config["side"])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInputError("cannot read mask head", item=str(path), why=str(error)[:300]) from error
    if config.get("base_fingerprint") != base.fingerprint:
        raise BadInputError(
            "mask head was trained on another nano", item=str(path), fix="train the head again on this one"
        )
    mark = hashlib.sha256(f"{base.fingerprint} {sha256(path)} {side}".encode()).hexdigest()
    return PromptSegmenter(base, head.requires_grad_(False).to(base.device), side, base.name, mark)
