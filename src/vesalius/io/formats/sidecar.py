"""A JSON file beside a picture that says what the picture does not: `scan.png` and `scan.json`.

Known keys: `modality, view, body_part, spacing, patient, time, age, sex, site, device, labels, report`, and those that
BIDS and dcm2niix write (`Modality, BodyPartExamined, Manufacturer, ManufacturersModelName`). Others are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vesalius.errors import BadInputError
from vesalius.io.formats.blob import Blob
from vesalius.io.limits import Limits

_BIDS = {"Modality": "modality", "BodyPartExamined": "body_part", "Manufacturer": "device"}
MAX_BYTES = 1 << 20


def stem(name: str) -> str:
    """A file's name without its extension, and without `.gz` before that."""
    return re.sub(r"(\.nii)?(\.gz)?$", "", name) if name.endswith((".nii", ".nii.gz")) else Path(name).stem


def read_sidecar(path: Path, item: str, limits: Limits) -> dict[str, Any]:
    """The known keys of the sidecar of a picture at `path`; empty when there is none.

    Raises:
        BadInputError: There is one and it is not a JSON object, repeats a key, or is too large or too deep.
    """
    for name in (path.name + ".json", stem(path.name) + ".json"):
        file = path.with_name(name)
        if file.is_file() and not file.is_symlink():
            return _parse(file, item, limits)
    return {}


def _parse(file: Path, item: str, limits: Limits) -> dict[str, Any]:
    with Blob(file).open(limits) as stream:
        raw = stream.read(MAX_BYTES + 1)
    fix = "correct it, or remove it"
    if len(raw) > MAX_BYTES:
        raise BadInputError(
            "sidecar is too large", item=f"{item} ({file.name})", why=f"over {MAX_BYTES} bytes", fix=fix
        )
    try:
        data = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise BadInputError("cannot read sidecar", item=f"{item} ({file.name})", why=why, fix=fix) from error
    if not isinstance(data, dict):
        raise BadInputError("cannot read sidecar", item=f"{item} ({file.name})", why="it is not an object", fix=fix)
    return {_BIDS.get(str(k), str(k)): v for k, v in data.items()}


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
