"""`vesalius VERB ...`: finds the verb, runs it, turns errors into messages and exit codes.

Nothing heavy is imported before a verb runs: `vesalius --help` must answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from vesalius import __version__
from vesalius.cli.verbs import VERBS, Verb
from vesalius.errors import ExitCode, UsageError, VesaliusError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors leave with exit code 2 and guess what was meant."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        raise UsageError(message, fix=f"see `{self.prog} --help`")


def parser_of(verb: Verb) -> Parser:
    """The parser of one verb; imports that verb's module only."""
    parser = Parser(prog=f"vesalius {verb.name}", description=verb.help, allow_abbrev=False)
    importlib.import_module(verb.module).configure(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    try:
        return _run(args)
    except VesaliusError as error:
        if debug:
            raise
        _complain(str(error), args, error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("vesalius: interrupted; what was reported done is kept", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`| head`): not a fault. Point stdout elsewhere so that the exit flush is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except MemoryError:
        _complain("memory ran out: lower --batch-size or --workers, or use --limit", args)
        return int(ExitCode.RESOURCES)
    except OSError as error:
        if debug:
            raise
        full = error.errno in (27, 28, 122)  # EFBIG, ENOSPC, EDQUOT
        where = f" [{error.filename}]" if error.filename else ""
        _complain(f"{'the disk is full' if full else 'system error'}{where}: {error.strerror or error}", args)
        return int(ExitCode.RESOURCES if full else ExitCode.FAULT)
    except Exception as error:
        if debug:
            raise
        _complain(f"fault in vesalius: {type(error).__name__}: {error}. Run again with --debug for the trace", args)
        return int(ExitCode.FAULT)


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(_help())
        return int(ExitCode.OK)
    if args[0] in ("-V", "--version", "version"):
        print(f"vesalius {__version__}")
        return int(ExitCode.OK)
    if args[0].startswith("-"):
        raise UsageError("the verb comes first", item=args[0], fix="see `vesalius --help`")
    verb = next((v for v in VERBS if v.name == args[0]), None)
    if verb is None:
        near = get_close_matches(args[0], [v.name for v in VERBS], n=1)
        raise UsageError(
            "no such verb", item=args[0], fix=f"did you mean `{near[0]}`?" if near else "see `vesalius --help`"
        )
    from vesalius.cli.common import run_verb

    try:
        options = parser_of(verb).parse_args(args[1:])
    except SystemExit as stop:  # argparse's --help
        return int(stop.code or 0)
    return run_verb(verb, options, args)


def _help() -> str:
    width = max(len(v.name) for v in VERBS)
    lines = [f"  {v.name:<{width}}  {v.help}" for v in VERBS]
    return "\n".join(
        [
            "vesalius: one system for medical images and language. Not a medical device.",
            "",
            "usage: vesalius VERB [options]     (each verb has --help)",
            "",
            *lines,
            "",
            "exit codes: 0 ok, 1 fault, 2 usage, 3 some inputs bad (listed), 4 model or data missing,",
            "            5 resources, 6 audit gate not met, 130 interrupted with state saved",
        ]
    )


def _complain(message: str, args: Sequence[str], error: VesaliusError | None = None) -> None:
    if "--json" in args and error is not None:
        import json

        print(json.dumps(error.to_dict(), ensure_ascii=False))
    print(f"vesalius: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
