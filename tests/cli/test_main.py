"""The front: help without heavy imports, messages, exit codes, closed pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from vesalius.verbs.frame.table import verbs

VERBS = [v.name for v in verbs()]


def _python(code: str, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **kwargs)


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    done = _python(
        "import sys\nfrom vesalius.cli.main import main\ncode = main(['--help'])\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'pydicom', 'transformers', 'matplotlib', 'PIL') "
        "if m in sys.modules], file=sys.stderr)\nsys.exit(code)"
    )
    assert done.returncode == 0
    for verb in VERBS:
        assert f"  {verb.partition(' ')[0]} " in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(run, verb) -> None:
    code, out, _ = run(*verb.split(), "--help")
    assert code == 0
    assert f"vesalius {verb}" in out


def test_version(run) -> None:
    assert run("--version")[1].startswith("vesalius 0.")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["serch"], 2, "Did you mean `search`"),
        (["models"], 2, "list, info, add"),
        (["models", "lst"], 2, "list, info, add"),
        (["search", "x", "--text", ""], 2, "the query is empty"),
        (["search", "x", "--case", " "], 2, "the query is empty"),
        (["search", "x", "--text", "y", "-k", "0"], 2, "give 1 or more".capitalize()),
        (["search", "x", "--text", "y", "-k", "two"], 2, "not a whole number [-k two]"),
        (["search", "x", "--text", "y", "--mode", "vektor"], 2, "vector, text, hybrid"),
        (["search"], 2, "required"),
        (["search", "nowhere", "--text", "x"], 4, "nowhere"),
        (["search", "nowhere"], 2, "--text, --image, --case"),
        (["index", "--library", "x"], 2, "nothing to do"),
        (["index", "nowhere", "--library", "x"], 4, "nowhere"),
        (["classify", "nowhere", "--labels", "a,b"], 4, "nowhere"),
        (["classify", "nowhere"], 2, "--labels or --head"),
        (["classify", ".", "--labels", "a"], 2, "two or more"),
        (["fit", "nowhere", "--target", "x"], 4, "nowhere"),
        (["fit", ".", "--target", "x", "--device", "cuda:7"], 2, "--device cpu"),
        (["models", "info", "nanoo"], 4, "Did you mean nano"),
        (["models", "get", "hf:a/b"], 2, "--online"),
        (["data", "stats", "nowhere"], 4, "nowhere"),
        (["data", "get", "pathmnist", "--to", "x"], 2, "--online"),
        (["data", "get", "pathmist", "--to", "x"], 2, "Did you mean pathmnist"),
        (["--quiet", "doctor"], 2, "verb comes first"),
        (["index", "x", "--library", "y", "--batch-size", "0"], 2, "--batch-size"),
    ],
)
def test_wrong_command_lines_say_what_and_leave_with_the_right_code(
    run, args, code, says, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    got, out, err = run(*args)
    assert got == code, err
    assert says in err
    assert "Traceback" not in err
    assert out == ""


def test_json_error_is_an_object(run, tmp_path) -> None:
    code, out, _ = run("search", tmp_path / "no", "--text", "x", "--json")
    error = json.loads(out)
    assert code == error["exit_code"] == 4
    assert error["what"]


def test_a_reader_that_goes_away_is_not_a_fault() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from vesalius.cli.main import main; import sys; sys.exit(main(['data','validate','.','--schema']))",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in (0, -13)


def test_nothing_is_written_to_home_and_no_socket_is_opened(tmp_path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from vesalius.cli.main import main\n"
        "sys.exit(main(['doctor', '--quiet']))"
    )
    done = _python(code, env={**os.environ, "HOME": str(home), "VESALIUS_HOME": ""})
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
