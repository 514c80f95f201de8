"""The reference documents every verb, action, flag and exit code, and says what the code says."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from docs.functions_page import ROOMS, functions
from docs.generate import EXIT_CODES, pages
from vesalius.cli.parser import parser_of
from vesalius.errors import ExitCode
from vesalius.metrics.registry import MODULES
from vesalius.verbs.frame.table import verbs

#: Modules whose other functions serve the metrics and measure nothing by themselves.
HELPERS = {"metrics.detection.boxes"}
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE.parent / name).read_text("utf-8") == pages()[name], "run `make docs`"


@pytest.mark.parametrize("verb", verbs(), ids=lambda v: v.name)
def test_every_argument_says_what_it_is_for_and_stands_in_both_references(verb) -> None:
    page = (REFERENCE / "cli.md").read_text("utf-8")
    section = re.split(r"\n##+ vesalius ", page.split(f" vesalius {verb.name}\n", 1)[1])[0]
    python = (REFERENCE / "python.md").read_text("utf-8").split(f"\n### vs.{verb.python}\n", 1)[1].split("\n### ")[0]
    parser = parser_of(verb)
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        assert action.help, f"{parser.prog}: {action.dest} has no help"
        for option in action.option_strings:
            assert f"`{option}`" in section or f"`{option}`" in page.split("\n## ")[0], f"{parser.prog}: {option}"
    for a in (*verb.arguments, *verb.job_arguments):
        assert f"`{a.name}`" in python


def test_every_exit_code_is_documented() -> None:
    assert set(EXIT_CODES) == set(ExitCode)
    page = (REFERENCE / "exit-codes.md").read_text("utf-8")
    for code in ExitCode:
        assert f"| {int(code)} |" in page


def test_every_function_that_measures_is_in_the_reference() -> None:
    text = (REFERENCE / "functions.md").read_text("utf-8")
    rooms = {module for modules in ROOMS.values() for module in modules}
    for module in (*rooms, *(f"metrics.{m}" for m in MODULES)):
        for name, function in functions(module):
            assert module in rooms or module in HELPERS, f"{module}.{name} is in no part of the reference"
            assert function.__doc__, f"{module}.{name} says nothing"
            assert module in HELPERS or f"`{module}.{name}`" in text
