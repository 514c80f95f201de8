"""The JSON tables of `text/data`, read once and kept."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any


@functools.cache
def load_table(name: str) -> dict[str, Any]:
    """Read one table shipped in `vesalius/text/data`.

    Args:
        name: File name without the suffix, such as `"modalities"`.

    Returns:
        The parsed object. It is shared between callers and must not be changed.
    """
    text = resources.files("vesalius.text").joinpath("data", f"{name}.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table
