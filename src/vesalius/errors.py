"""Errors that say what failed, which item, why, and what to do.

Every error a user can cause derives from `VesaliusError`. The command line prints its text and leaves with its
exit code; library users catch the class. The codes are the contract of `docs/reference/exit-codes.md`.
"""

from __future__ import annotations

import enum
from typing import Any


class ExitCode(enum.IntEnum):
    """Exit codes of every `vesalius` command."""

    OK = 0
    FAULT = 1
    USAGE = 2
    BAD_INPUT = 3
    MISSING = 4
    RESOURCES = 5
    GATE = 6
    INTERRUPTED = 130


class VesaliusError(Exception):
    """Base of all errors that vesalius raises on purpose.

    Args:
        what: What failed, in words a user knows ("cannot read image").
        item: Which file, case, model or option it concerns.
        why: The cause.
        fix: What the user can do about it.
    """

    exit_code: ExitCode = ExitCode.FAULT

    def __init__(self, what: str, *, item: str = "", why: str = "", fix: str = "") -> None:
        self.what, self.item, self.why, self.fix = what, item, why, fix
        super().__init__(what, item, why, fix)

    def __str__(self) -> str:
        text = self.what
        if self.item:
            text += f" [{self.item}]"
        if self.why:
            text += f": {self.why}"
        if self.fix:
            text += f". {self.fix[0].upper()}{self.fix[1:]}"
        return text if text.endswith((".", "!", "?")) else text + "."

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is rebuilt from positional arguments when it comes back from a worker; ours are named.
        return _rebuild, (type(self), self.what, self.item, self.why, self.fix)

    def to_dict(self) -> dict[str, str | int]:
        """The error as plain data, for `--json` and the HTTP API."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "item": self.item,
            "why": self.why,
            "fix": self.fix,
            "exit_code": int(self.exit_code),
        }


def _rebuild(kind: type[VesaliusError], what: str, item: str, why: str, fix: str) -> VesaliusError:
    return kind(what, item=item, why=why, fix=fix)


class UsageError(VesaliusError):
    """An argument or a combination of arguments that makes no sense."""

    exit_code = ExitCode.USAGE


class BadInputError(VesaliusError):
    """An input (file, row, case) that cannot be used; items beside it may be fine."""

    exit_code = ExitCode.BAD_INPUT


class UnsafeInputError(BadInputError):
    """An input refused because handling it could harm the machine (bomb, path escape, link)."""


class MissingError(VesaliusError):
    """A model, data set or optional dependency that is not there."""

    exit_code = ExitCode.MISSING


class ResourceError(VesaliusError):
    """Memory, disk, time or a size budget ran out."""

    exit_code = ExitCode.RESOURCES


class GateError(VesaliusError):
    """An audit gate was not met."""

    exit_code = ExitCode.GATE


class CancelledError(VesaliusError):
    """The work was asked to stop and did, between two items; what was reported done is kept."""

    exit_code = ExitCode.INTERRUPTED
