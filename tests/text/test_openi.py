"""The labeller against the Open-i headings, when the package that carries the reports is installed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def openi() -> ModuleType:
    if importlib.util.find_spec("torchxrayvision") is None:
        pytest.skip("pip install --no-deps torchxrayvision brings the Open-i reports")
    spec = importlib.util.spec_from_file_location("openi_labeller", ROOT / "perf" / "openi_labeller.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(openi):
    items = [item for item in openi.read_items() if openi.usable(item) and item.test]
    return {row.name: row for row in openi.compare(items, openi.label(items))}


def test_all_reports_are_read(openi):
    items = list(openi.read_items())
    assert len(items) == 3955
    assert len({item.id for item in items}) == 3955
    assert sum(openi.usable(item) for item in items) == 3832


def test_agreement_on_the_half_that_was_not_read(openi, rows):
    micro, macro = openi.averages(list(rows.values()))
    assert micro > 0.92
    assert macro > 0.87
    for name in ("Cardiomegaly", "Atelectasis", "Pleural Effusion", "Lung Opacity", "Edema"):
        assert rows[name].f1 > 0.85, name


def test_the_page_holds_these_numbers(openi, rows):
    page = openi.PAGE.read_text(encoding="utf-8")
    assert openi.table(list(rows.values())) in page, "stale page: run python -m perf.openi_labeller"


def test_headings_are_matched_as_written(openi):
    headings = (("Opacity", "lung", "base", "left"), ("Cardiomegaly", "mild"))
    assert openi.says(headings, ["Cardiomegaly"])
    assert openi.says(headings, ["Opacity/base"])
    assert openi.says(headings, ["*/mild"])
    assert not openi.says(headings, ["Opacity/round", "Pneumonia"])
