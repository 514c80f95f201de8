"""`vesalius VERB ...`: finds the verb, runs it, turns errors into messages and exit codes.

Nothing heavy is imported before a verb runs: `vesalius --help` must answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vesalius import __version__
from vesalius.errors import ExitCode, UsageError, VesaliusError
from vesalius.job import Job
from vesalius.verbs.frame.arguments import arguments, make
from vesalius.verbs.frame.shared import JobArgs
from vesalius.verbs.frame.table import HEADINGS, actions, headlines, summary
from vesalius.verbs.frame.verb import Verb

if TYPE_CHECKING:
    from vesalius.cli.parser import FaceArgs


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
    from vesalius.cli.parser import FaceArgs, given, parser_of

    found = actions(args[0])
    verb, rest = _choose(found, args[0], args[1:])
    if verb is None:
        print(_actions_help(args[0], found))
        return int(ExitCode.OK)
    try:
        options = parser_of(verb).parse_args(rest)
    except SystemExit as stop:  # argparse's --help
        return int(stop.code or 0)
    face = make(FaceArgs, given(options, arguments(FaceArgs)))
    job_args = make(JobArgs, given(options, verb.job_arguments))
    values = given(options, verb.arguments)
    job = Job(**(vars(job_args) | {"online": job_args.online and not face.offline}))
    return _perform(verb, make(verb.args, values), job, face)


def _perform(verb: Verb, args: object, job: Job, face: FaceArgs) -> int:
    from vesalius.cli.terminal import Listener, stoppable
    from vesalius.verbs.frame.calls import call, envelope, exit_code

    listener = Listener(quiet=face.quiet)
    listener.listen(job)
    try:
        with stoppable(job, listener):
            result = call(verb, args, job)
    finally:
        listener.close()
    if job.refused and not face.quiet:
        print(f"{len(job.refused)} item(s) refused", file=sys.stderr)
    if face.json:
        import json

        print(json.dumps(envelope(verb, result, job), ensure_ascii=False))
    else:
        text = str(result)
        if text:
            print(text)
    return int(exit_code(result, job))


def _choose(found: tuple[Verb, ...], word: str, rest: list[str]) -> tuple[Verb | None, list[str]]:
    """The verb, or the action of it, that is meant; None where help on its actions is."""
    if len(found) == 1 and not found[0].action:
        return found[0], rest
    for verb in found:
        if rest and verb.action == rest[0]:
            return verb, rest[1:]
    if rest and rest[0] in ("-h", "--help"):
        return None, rest
    default = next((v for v in found if v.default), None)
    if default is not None and (not rest or rest[0].startswith("-")):
        return default, rest
    known = ", ".join(v.action for v in found)
    if not rest or rest[0].startswith("-"):
        raise UsageError("an action is required", item=word, fix=f"use one of {known}")
    raise UsageError("no such action", item=f"{word} {rest[0]}", fix=f"use one of {known}")


def _help() -> str:
    known = headlines()
    width = max(len(word) for word, _, _ in known)
    lines = []
    for heading in HEADINGS:
        lines += [f"{heading}:", *(f"  {w:<{width}}  {line}" for w, under, line in known if under == heading), ""]
    return "\n".join(
        [
            "vesalius: one system for medical images and language. Not a medical device.",
            "",
            "usage: vesalius VERB [options]     (each verb has --help)",
            "",
            *lines,
            "exit codes: 0 ok, 1 fault, 2 usage, 3 some inputs bad (listed), 4 model or data missing,",
            "            5 resources, 6 audit gate not met, 130 interrupted with state saved",
        ]
    )


def _actions_help(word: str, found: tuple[Verb, ...]) -> str:
    width = max(len(v.action) for v in found)
    return "\n".join(
        [
            f"vesalius {word}: {summary(word)}",
            "",
            f"usage: vesalius {word} ACTION [options]     (each action has --help)",
            "",
            *(f"  {v.action:<{width}}  {v.help}" for v in found),
        ]
    )


def _complain(message: str, args: Sequence[str], error: VesaliusError | None = None) -> None:
    if "--json" in args and error is not None:
        import json

        print(json.dumps(error.to_dict(), ensure_ascii=False))
    print(f"vesalius: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
