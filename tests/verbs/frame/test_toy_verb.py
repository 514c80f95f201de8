"""One file is a verb: it appears on the command line, in Python, in the schema and in the reference."""

from __future__ import annotations

import inspect
import json
import sys

import jsonschema
import pytest

from vesalius.errors import ExitCode, UsageError
from vesalius.verbs import __path__ as room
from vesalius.verbs.frame.schema import describe
from vesalius.verbs.frame.table import find, verbs
from vesalius.verbs.frame.verb import REGISTERED

TOY = '''
"""`weigh`: how heavy files are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.job import Job
from vesalius.verbs.frame import Args, Result, arg, verb


@dataclass(frozen=True)
class Weigh(Args):
    """What to weigh."""

    files: tuple[Path, ...] = arg("files to weigh", positional=True)
    scale: float = arg("what to multiply by", 1.0, low=0, high=100, unit="bytes")
    words: tuple[str, ...] = arg("words to say", (), separator=",")
    rounding: Literal["up", "down"] = arg("which way to round", "down")
    polite: bool = arg("greet first", True)
    most: int | None = arg("stop after so many", None, low=1)


@dataclass(frozen=True)
class Weighed(Result):
    """Weights."""

    weights: tuple[float, ...]
    said: tuple[str, ...]
    polite: bool
    seed: int
    note: str | None = None

    def lines(self) -> Iterator[str]:
        yield from (f"{w:g}" for w in self.weights)


@verb("weigh", "examine", uses=("seed",), reads_only=True)
def weigh(args: Weigh, job: Job) -> Weighed:
    """Say how heavy files are."""
    weights = []
    for file in job.progress(args.files, len(args.files), "weighing"):
        if not file.is_file():
            job.refuse(str(file), "there is no such file")
            continue
        weights.append(args.scale * file.stat().st_size)
    return Weighed(tuple(weights), args.words, args.polite, job.seed)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "weigh.py").write_text(TOY)
    monkeypatch.setattr("vesalius.verbs.__path__", [*room, str(folder)])
    yield find("weigh")
    REGISTERED.pop("weigh")
    sys.modules.pop("vesalius.verbs.weigh")


@pytest.fixture
def file(tmp_path):
    (tmp_path / "a.txt").write_text("12345")
    return tmp_path / "a.txt"


def test_it_is_on_the_command_line(toy, file, run, run_json):
    assert "weigh" in run("--help")[1]
    code, out, _ = run("weigh", "--help")
    assert code == 0
    assert "what to multiply by, in bytes (default: 1)" in " ".join(out.split())
    assert "do not greet first" in out
    assert run("weigh", file, "--scale", 2)[1] == "10\n"
    code, done = run_json("weigh", file, "--words", "a, b", "--no-polite", "--seed", 3)
    assert done["result"] == {"weights": [5.0], "said": ["a", "b"], "polite": False, "seed": 3}
    assert (code, done["verb"], done["exit_code"]) == (0, "weigh", 0)


def test_limits_types_and_choices_are_held_once_for_both(toy, file, run):
    import vesalius as vs

    for flag, name, value, says in (
        ("--scale", "scale", -1, "number is too small"), ("--scale", "scale", 101, "number is too large"),
        ("--scale", "scale", "x", "not a number"), ("--scale", "scale", "nan", "not a finite number"),
        ("--most", "most", 0, "number is too small"), ("--rounding", "rounding", "left", "no such choice"),
        ("--seed", "seed", -1, "number is too small"),
    ):  # fmt: skip
        code, _, err = run("weigh", file, flag, value)
        assert (code, says in err) == (2, True), (flag, value, err)
        with pytest.raises(UsageError, match=says):
            vs.weigh([file], **{name: value})


def test_a_bad_item_beside_a_good_one_is_exit_3_and_in_run_json(toy, file, run, tmp_path):
    code, out, err = run("weigh", file, tmp_path / "gone", "--out", tmp_path / "o")
    assert (code, out) == (3, "5\n")
    assert "there is no such file" in err
    manifest = json.loads((tmp_path / "o" / "run.json").read_text())
    assert manifest["exit_code"] == 3
    assert manifest["refused"][0]["why"] == "there is no such file"
    assert manifest["arguments"]["scale"] == 1.0
    assert manifest["result"]["weights"] == [5.0]
    code, out, err = run("weigh", file, tmp_path / "gone", "--quiet")
    assert (code, err) == (3, "")


def test_it_is_a_python_function_with_a_real_signature(toy, file, tmp_path):
    import vesalius as vs

    assert "weigh" in dir(vs)
    sign = inspect.signature(vs.weigh)
    assert next(iter(sign.parameters)) == "files"
    assert sign.parameters["scale"].default == 1.0
    assert "What to multiply by, in bytes" in vs.weigh.__doc__
    got = vs.weigh([str(file)], scale=3)
    assert got.weights == (15.0,)
    assert str(got) == "15"
    with pytest.warns(UserWarning, match="there is no such file"):
        vs.weigh([file, tmp_path / "gone"])
    with pytest.raises(TypeError, match="colour"):
        vs.weigh([file], colour="red")


def test_it_has_schemas_that_hold(toy, file):
    import vesalius as vs

    told = describe(toy)
    assert (told["read_only"], told["long"]) == (True, False)
    jsonschema.Draft202012Validator.check_schema(told["arguments"])
    jsonschema.validate({"files": ["a"], "scale": 2, "most": None}, told["arguments"])
    for wrong in ({}, {"files": ["a"], "scale": -1}, {"files": ["a"], "rounding": "left"}, {"files": ["a"], "x": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, told["arguments"])
    jsonschema.validate(vs.weigh([file]).to_dict(), told["result"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"weights": "x", "said": [], "polite": True, "seed": 0}, told["result"])


def test_it_is_in_the_references_and_the_stub(toy):
    from docs import verbs_pages

    assert "`--scale`" in verbs_pages.command_line("").split("## vesalius weigh\n")[1]
    assert "`scale`" in verbs_pages.python("").split("### vs.weigh\n")[1]
    assert "def weigh(\n    files: Sequence[str | Path],\n    *,\n    scale: float = 1.0," in verbs_pages.stub()


def test_two_files_cannot_declare_one_verb(toy, tmp_path, monkeypatch):
    (tmp_path / "more" / "other.py").write_text(TOY)
    with pytest.raises(TypeError, match="two files declare"):
        verbs()
    sys.modules.pop("vesalius.verbs.other", None)


def test_exit_codes_are_the_contract(toy):
    assert all(isinstance(code, ExitCode) for v in verbs() for code in v.exits)
