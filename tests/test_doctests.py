"""The examples in docstrings run and give what they say; with `pytest --doctest-modules` one runs a single module's."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import vesalius

ROOT = Path(next(iter(vesalius.__path__)))
FILES = sorted(f for f in ROOT.rglob("*.py") if re.search(r"^ +>>> ", f.read_text("utf-8"), re.MULTILINE))


def test_there_are_examples() -> None:
    assert len(FILES) >= 20


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_examples_hold(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example may write a file
    name = ".".join(("vesalius", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not done.failed
