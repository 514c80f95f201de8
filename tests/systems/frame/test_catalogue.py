"""The catalogue: every system once, those that work by an allow-list, and no torch for a listing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vesalius.errors import MissingError
from vesalius.systems import catalogue, find, open_recipe, open_system, working
from vesalius.systems.frame.recipe import REGISTERED, protocol


def test_catalogue_has_every_system_once():
    entries = catalogue()
    assert [e.number for e in entries] == list(range(1, 78))
    assert len({e.name for e in entries}) == 77
    verbs = {
        "embed", "search", "classify", "ground", "segment", "ask", "report", "generate", "forecast", "align",
        "evaluate", "audit", "data",
    }  # fmt: skip
    for e in entries:
        assert e.capabilities
        assert set(e.capabilities) <= verbs
        assert e.link.startswith("https://")
        assert 2021 <= e.year <= 2026


def test_a_row_names_the_module_in_which_the_system_registers():
    modules = [e.module for e in working()]
    assert len(set(modules)) == len(modules) >= 10
    for e in working():
        assert open_system(e.name) is REGISTERED[e.name]


def test_a_name_registers_once():
    taken = open_system("mask-of-truth")
    with pytest.raises(ValueError, match="registers twice"):
        protocol("mask-of-truth", claim="Nothing.", worlds=())(lambda cases, job: None)
    assert open_system("mask-of-truth") is taken


def test_find_by_name_or_number():
    assert find("7").name == find("07").name == find("medrpg-taco").name == "medrpg-taco"
    with pytest.raises(MissingError, match="medrpg-taco"):
        find("medrpg-tako")


def test_a_system_that_does_not_work_says_so():
    name = next(e.name for e in catalogue() if not e.works)
    with pytest.raises(MissingError, match="does not work here yet"):
        open_system(name)


def test_a_protocol_cannot_be_trained():
    with pytest.raises(MissingError, match="trains nothing"):
        open_recipe("mask-of-truth")
    assert open_recipe("3mt").model.system == "3mt"


def test_listing_imports_no_torch():
    code = "import sys, vesalius.systems as s, vesalius.verbs.systems; s.catalogue(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
