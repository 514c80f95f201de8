"""Errors say what, which, why and what to do, and carry the documented exit codes."""

from __future__ import annotations

import pickle

import pytest

from vesalius import errors
from vesalius.errors import ExitCode, VesaliusError


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "cannot read image."),
        ({"item": "a.dcm"}, "cannot read image [a.dcm]."),
        ({"why": "it is cut off"}, "cannot read image: it is cut off."),
        ({"item": "a", "why": "b", "fix": "copy it again"}, "cannot read image [a]: b. Copy it again."),
        ({"fix": "is it there?"}, "cannot read image. Is it there?"),
    ],
)
def test_the_text(fields, text):
    assert str(VesaliusError("cannot read image", **fields)) == text


def test_codes_and_inheritance():
    codes = {
        "VesaliusError": 1, "UsageError": 2, "BadInputError": 3, "UnsafeInputError": 3, "MissingError": 4,
        "ResourceError": 5, "GateError": 6,
    }  # fmt: skip
    for name, code in codes.items():
        error = getattr(errors, name)("what", item="i", why="w", fix="f")
        assert isinstance(error, VesaliusError)
        assert error.to_dict() == {
            "error": name, "what": "what", "item": "i", "why": "w", "fix": "f", "exit_code": code,
        }  # fmt: skip
    assert ExitCode.INTERRUPTED == 130
    assert issubclass(errors.UnsafeInputError, errors.BadInputError)


def test_errors_come_back_from_worker_processes():
    error = errors.MissingError("what", item="i", why="w", fix="f")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 # what multiprocessing does, with bytes made here
    assert type(back) is errors.MissingError
    assert back.to_dict() == error.to_dict()
    assert str(back) == str(error)
