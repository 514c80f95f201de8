"""Weights that a package carries: checked, read as tensors alone, kept as safetensors."""

from __future__ import annotations

import pickle
import sys

import pytest
import torch

from vesalius.errors import BadInputError, MissingError
from vesalius.models.converted import read_external
from vesalius.models.manifest import External, sha256


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that holds one file, and a store of its own."""
    folder = tmp_path / "carries_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VESALIUS_HOME", str(tmp_path / "home"))
    yield folder / "weights.pth"
    sys.modules.pop("carries_weights", None)


def _external(file):
    return External("carries_weights", "weights.pth", sha256(file), "carries-weights")


def test_tensors_are_read_without_importing_and_kept(package, tmp_path):
    torch.save({"a": torch.arange(4.0), "b": torch.ones(2, 2).t()}, package)
    external = _external(package)
    first = read_external(external)
    kept = list((tmp_path / "home" / "models" / ".converted").glob("*.safetensors"))
    assert [k.stem for k in kept] == [external.sha256]
    again = read_external(external)
    assert first.keys() == again.keys() == {"a", "b"}
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert "carries_weights" not in sys.modules


def test_a_damaged_copy_is_made_again(package, tmp_path):
    torch.save({"a": torch.arange(4.0)}, package)
    external = _external(package)
    read_external(external)
    (kept,) = (tmp_path / "home" / "models" / ".converted").glob("*.safetensors")
    kept.write_bytes(b"not one")
    assert torch.equal(read_external(external)["a"], torch.arange(4.0))


def test_another_file_is_refused(package):
    torch.save({"a": torch.arange(4.0)}, package)
    external = _external(package)
    package.write_bytes(package.read_bytes() + b"x")
    with pytest.raises(MissingError, match="another file"):
        read_external(external)


@pytest.mark.parametrize("what", [{"a": 3}, [torch.ones(1)]])
def test_more_than_named_tensors_is_refused(package, what):
    torch.save(what, package)
    with pytest.raises(BadInputError, match="more than named tensors"):
        read_external(_external(package))


def test_a_pickle_is_not_run(package):
    package.write_bytes(pickle.dumps({"a": _Trap()}))
    with pytest.raises(BadInputError, match="cannot read weights"):
        read_external(_external(package))


def test_a_store_that_may_not_be_written_is_no_hindrance(package, tmp_path):
    torch.save({"a": torch.arange(4.0)}, package)
    (tmp_path / "home").write_text("a file where the store should be")
    assert torch.equal(read_external(_external(package))["a"], torch.arange(4.0))
