"""The reference documents every verb, action, flag and exit code, and says what the code says."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from docs.functions_page import ROOMS, functions
from docs.generate import EXIT_CODES, pages
from vesalius.cli.main import parser_of
from vesalius.cli.verbs import VERBS
from vesalius.errors import ExitCode
from vesalius.metrics.registry import MODULES

#: Modules whose other functions serve the metrics and measure nothing by themselves.
HELPERS = {"metrics.detection.boxes"}
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(pages()))
def test_page_is_up_to_date(name: str) -> None:
    assert (REFERENCE.parent / name).read_text("utf-8") == pages()[name], "run `make docs`"


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [p for sub in action.choices.values() for p in _parsers(sub)]
    return found


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.name)
def test_every_argument_says_what_it_is_for_and_stands_in_the_reference(verb) -> None:
    page = (REFERENCE / "cli.md").read_text("utf-8")
    section = page.split(f"\n## vesalius {verb.name}\n", 1)[1].split("\n## vesalius ", 1)[0]
    for parser in _parsers(parser_of(verb)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
                continue
            assert action.help, f"{parser.prog}: {action.dest} has no help"
            for option in action.option_strings:
                assert f"`{option}`" in section, f"{parser.prog}: {option} is not in the reference"


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
